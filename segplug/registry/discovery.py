"""Find what is installed, from metadata and manifests alone: no plugin is imported here.

stevedore lists the entry points. Its cache on disk is why a listing does not read the metadata of every
distribution on the machine. What the entry points do not say (the distribution, the hook versions, what a
target takes) comes from the distributions' manifests.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from stevedore import ExtensionManager, NamedExtensionManager

from segplug.errors import PluginError
from segplug.groups import ADDON_GROUP, COMMAND_GROUP, EXECUTOR_HOOK, HOOKS, SOURCE_HOOKS, group_of
from segplug.installed import Entry
from segplug.registry import manifest
from segplug.registry.installation import installation, installed_version
from segplug.registry.manifest import manifest_of
from segplug.versions import CHANGES_PAGE, HOOK_VERSIONS

__all__ = ["addon_entries", "all_entries", "command_entries", "entries", "forget", "why_outdated"]


def entries(hook: str) -> tuple[Entry, ...]:
    """Every installed target of a hook, sorted; its ``status`` says what is wrong with its manifest."""
    return _read_group(group_of(hook), hook)


def addon_entries() -> tuple[Entry, ...]:
    """Every installed add-on, the outermost first: by order, then by name."""
    found = _read_group(ADDON_GROUP, "addon")
    return tuple(sorted(found, key=lambda entry: (entry.facts.order, entry.target, entry.distribution)))


def command_entries() -> tuple[Entry, ...]:
    """Every installed plugin's own command, sorted by name."""
    return _read_group(COMMAND_GROUP, "command")


def all_entries() -> tuple[Entry, ...]:
    """The entries of all hooks, then add-ons and commands."""
    found = [entry for hook in (*HOOKS, *SOURCE_HOOKS, EXECUTOR_HOOK) for entry in entries(hook)]
    return (*found, *addon_entries(), *command_entries())


def forget() -> None:
    """Forget what was read; for processes that install plugins while they run."""
    _read_group.cache_clear()
    installation.cache_clear()
    manifest.forget()
    ExtensionManager.ENTRY_POINT_CACHE.clear()


@cache
def _read_group(group: str, hook: str) -> tuple[Entry, ...]:
    found = sorted(
        (_entry(hook, name, value) for name, value in _points(group)), key=lambda entry: entry.qualified
    )
    found.sort(key=lambda entry: entry.target)
    claims = Counter(entry.target for entry in found)
    return tuple(
        _marked(entry, found) if claims[entry.target] > 1 and entry.status == "available" else entry
        for entry in found
    )


def _points(group: str) -> tuple[tuple[str, str], ...]:
    """The names and values of a group's entry points, as stevedore finds them.

    The key of stevedore's cache on disk holds times of files, rounded to 128 seconds: an entry point that was
    added soon after the last listing would stay unknown. The key also holds the path. A name on it that
    stands for the exact state, and leads nowhere, makes the key exact.
    """
    state = f"segplug-{installation().state}"
    sys.path.append(state)
    try:
        listing: NamedExtensionManager[object] = NamedExtensionManager(
            group, names=[], on_missing_entrypoints_callback=None
        )
        return tuple(dict.fromkeys((point.name, point.value) for point in listing.list_entry_points()))
    finally:
        sys.path.remove(state)


def _entry(hook: str, name: str, value: str) -> Entry:
    module = value.partition(":")[0].strip()
    try:
        described = manifest_of(module)
    except PluginError as error:
        owner, version = _owner(hook, name, value)
        return Entry(
            hook, name, value, owner, version, status="broken", reason=_advised(error.message, owner)
        )
    facts = described.facts.get((hook, name))
    if facts is None:
        owner, version = _owner(hook, name, value)  # the manifest may be that of another distribution
        reason = _advised(f"its manifest does not name it ({hook} {name})", owner)
        return Entry(hook, name, value, owner, version, status="broken", reason=reason)
    owner = described.distribution
    entry = Entry(hook, name, value, owner, installed_version(owner), facts)
    unknown = sorted(set(facts.versions) - set(HOOK_VERSIONS))
    if unknown:
        return replace(entry, status="broken", reason=f"there is no hook '{unknown[0]}'")
    outdated = [text for item in facts.versions.items() if (text := why_outdated(*item))]
    if outdated:
        return replace(entry, status="outdated", reason=outdated[0])
    ending = [text for item in facts.versions.items() if (text := _when_it_ends(*item))]
    return replace(entry, reason="; ".join(ending))


def _owner(hook: str, name: str, value: str) -> tuple[str, str]:
    """The distribution and version of an entry point without facts; this reads the metadata of all."""
    from importlib import metadata

    group = {"addon": ADDON_GROUP, "command": COMMAND_GROUP}.get(hook) or group_of(hook)
    for point in metadata.entry_points(group=group, name=name):
        if point.value == value and point.dist is not None:
            return point.dist.name, point.dist.version
    return value.partition(":")[0].partition(".")[0], ""


def _advised(reason: str, distribution: str) -> str:
    if "manifest" not in reason or "upgrade segplug" in reason:
        return reason
    author = f"its author has to run segplug plugins manifest {distribution}"
    if "no manifest" in reason:
        return f"{reason}: {author}; if it was written for segplug 0.1, see {CHANGES_PAGE}"
    return f"{reason}: {author}"


def why_outdated(hook: str, version: int) -> str:
    """Why a provider of this version does not run; empty if it does."""
    known = HOOK_VERSIONS[hook]
    if known.runs(version):
        return ""
    if version > known.current:
        return (
            f"it needs version {version} of the hook '{hook}', this segplug has {known.current}: "
            "upgrade segplug"
        )
    return (
        f"it was written for version {version} of the hook '{hook}', this segplug has {known.current}: "
        f"upgrade the plugin; what changed: {CHANGES_PAGE}"
    )


def _when_it_ends(hook: str, version: int) -> str:
    """For a provider of an older version that still runs: the version of segplug in which that ends."""
    end = HOOK_VERSIONS[hook].ends.get(version)
    return "" if end is None else f"written for version {version} of '{hook}', which ends in segplug {end}"


def _marked(entry: Entry, found: Iterable[Entry]) -> Entry:
    rivals = dict.fromkeys(other.qualified for other in found if other.target == entry.target)
    reasons = [f"claimed by {' and '.join(rivals)}", *([entry.reason] if entry.reason else [])]
    return replace(entry, status="duplicate", reason="; ".join(reasons))
