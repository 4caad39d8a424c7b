"""Find what is installed, from metadata alone: no plugin is imported here.

stevedore reads the entry-point groups; the distribution that owns each entry, which stevedore's
cache does not keep, comes from ``importlib.metadata``.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, entry_points
from pathlib import Path

from stevedore import NamedExtensionManager

from segplug.hookspecs import ADDON_GROUP, COMMAND_GROUP, HOOKS, SOURCE_HOOKS, group_of
from segplug.installed import Entry

__all__ = ["about", "addon_entries", "all_entries", "command_entries", "entries", "forget"]


def entries(hook: str) -> tuple[Entry, ...]:
    """Every installed target of a hook, sorted; its ``status`` says what is wrong with its metadata."""
    return _read_group(group_of(hook), hook)


def addon_entries() -> tuple[Entry, ...]:
    """Every installed add-on, sorted by name."""
    return _read_group(ADDON_GROUP, "addon")


def command_entries() -> tuple[Entry, ...]:
    """Every installed plugin's own command, sorted by name."""
    return _read_group(COMMAND_GROUP, "command")


def all_entries() -> tuple[Entry, ...]:
    """The entries of all hooks, then add-ons and commands."""
    found = [entry for hook in (*HOOKS, *SOURCE_HOOKS) for entry in entries(hook)]
    return (*found, *addon_entries(), *command_entries())


def about(entry: Entry) -> str:
    """One line on a target, for listings.

    It is the first line of the module's docstring, if that has the form ``hook target``, a colon, the text.
    The line is read from the source file, which is not run. Else it is the distribution's summary.
    """
    spec = _find(entry.value.partition(":")[0])
    if not isinstance(spec, ModuleSpec) or not spec.origin or not spec.origin.endswith(".py"):
        return entry.summary
    try:
        docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return entry.summary
    heading, _, text = (docstring or "").partition("\n")[0].partition(": ")
    if heading != f"``{entry.hook} {entry.target}``" or not text:
        return entry.summary
    plain = re.sub(r"(:\w+:)?`+([^`]*)`+", r"\2", text)
    return plain[0].upper() + plain[1:]


def forget() -> None:
    """Forget what was read; for processes that install plugins while they run."""
    _read_group.cache_clear()


@cache
def _read_group(group: str, hook: str) -> tuple[Entry, ...]:
    owned = _with_owners(group, hook)
    claims = Counter(entry.target for entry in owned)
    return tuple(_checked(entry, owned if claims[entry.target] > 1 else ()) for entry in owned)


def _with_owners(group: str, hook: str) -> list[Entry]:
    """Join the names that stevedore lists with the distributions that own them.

    stevedore's cache on disk can be minutes behind a reinstallation: a name that no distribution
    owns any more is dropped, and one that only the metadata knows yet is taken as well.
    """
    manager: NamedExtensionManager[object] = NamedExtensionManager(
        group, names=[], on_missing_entrypoints_callback=None
    )
    owners: dict[tuple[str, str], list[Distribution]] = {}
    for point in entry_points(group=group):
        if point.dist is not None:
            owners.setdefault((point.name, point.value), []).append(point.dist)
    listed = dict.fromkeys((point.name, point.value) for point in manager.list_entry_points())
    found = {
        (name, distribution.metadata["Name"]): _entry(hook, name, value, distribution)
        for name, value in dict.fromkeys([*listed, *owners])
        for distribution in owners.get((name, value), ())
    }
    return [found[key] for key in sorted(found)]


def _entry(hook: str, name: str, value: str, distribution: Distribution) -> Entry:
    metadata = distribution.metadata.json
    return Entry(
        hook=hook,
        target=name,
        value=value,
        distribution=str(metadata["name"]),
        version=distribution.version,
        summary=str(metadata.get("summary", "")),
    )


def _checked(entry: Entry, claims: tuple[Entry, ...] | list[Entry]) -> Entry:
    rivals = [other for other in claims if other.target == entry.target]
    if len({other.distribution for other in rivals}) > 1:
        names = " and ".join(other.qualified for other in rivals)
        return replace(entry, status="duplicate", reason=f"claimed by {names}")
    missing = _missing_module(entry.value.partition(":")[0])
    if missing:
        return replace(entry, status="broken", reason=f"there is no module {missing}")
    return entry


def _missing_module(module: str) -> str | None:
    """The first part of a dotted module name that is not on the path; imports nothing."""
    found = _find(module)
    return found if isinstance(found, str) else None


def _find(module: str) -> ModuleSpec | str | None:
    """Where a module lies, or the first part of its name that does not exist; imports nothing.

    ``None``: cannot be known without importing, as below a folder without ``__init__.py``.
    """
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return top
    name = top
    for part in rest:
        if spec is None:
            return name
        name = f"{name}.{part}"
        try:
            spec = importlib.machinery.PathFinder.find_spec(name, spec.submodule_search_locations)
        except KeyError:  # Python looks the folder's parent up among the imported modules
            return None
    return spec or name
