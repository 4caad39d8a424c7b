"""Write and check the manifests of a distribution from its classes, for authors of plugins."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from segplug.errors import PluginError, UsageError
from segplug.files import write_text
from segplug.groups import ADDON_GROUP, COMMAND_GROUP, EXECUTOR_HOOK, HOOKS, SOURCE_HOOKS, group_of
from segplug.installed import Entry, Facts
from segplug.registry import discovery
from segplug.registry.checks import check_addon, check_provider, checked_facts
from segplug.registry.discovery import why_outdated
from segplug.registry.facts import command_facts
from segplug.registry.loading import entry_label, import_plugin
from segplug.registry.manifest import Manifest, manifest_path, manifest_text, read_manifest
from segplug.regular_files import read_regular_text

__all__ = [
    "GROUPS",
    "entry_facts",
    "made_manifests",
    "outdated_manifests",
    "plugin_distributions",
    "write_manifests",
]

GROUPS = {
    **{group_of(hook): hook for hook in (*HOOKS, *SOURCE_HOOKS, EXECUTOR_HOOK)},
    ADDON_GROUP: "addon",
    COMMAND_GROUP: "command",
}
"""Every entry-point group of segplug, and the hook (or ``addon`` or ``command``) of its entries."""


def plugin_distributions() -> tuple[str, ...]:
    """The installed distributions that have providers, add-ons or commands, sorted."""
    found = {
        point.dist.name for group in GROUPS for point in metadata.entry_points(group=group) if point.dist
    }
    return tuple(sorted(found))


def made_manifests(distribution: str) -> dict[Path, str]:
    """The manifests that fit a distribution's classes, which are imported: path to text.

    There is one, unless its entry points name modules of several packages.

    Raises:
        UsageError: it is not installed, or has no entry point of segplug's.
        PluginError: one of its providers is broken; it is named.
    """
    try:
        installed = metadata.distribution(distribution)
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise UsageError(f"the distribution {distribution} is not installed") from error
    found: dict[Path, dict[tuple[str, str], Facts]] = {}
    for point in installed.entry_points:
        if point.group in GROUPS:
            hook = GROUPS[point.group]
            entry = Entry(hook, point.name, point.value, installed.name, installed.version)
            path = manifest_path(point.value.partition(":")[0].strip())
            facts = entry_facts(entry)
            for name, version in facts.versions.items():
                if reason := why_outdated(name, version):
                    raise PluginError(f"{entry_label(entry)} cannot run here: {reason}")
            found.setdefault(path, {})[hook, point.name] = facts
    if not found:
        raise UsageError(f"{installed.name} has no entry point of segplug's")
    return {path: manifest_text(Manifest(installed.name, facts)) for path, facts in found.items()}


def outdated_manifests(distribution: str) -> tuple[Path, ...]:
    """The manifests of a distribution that are missing or do not fit its classes; raises as
    :func:`made_manifests` does.
    """
    made = made_manifests(distribution)
    return tuple(path for path, text in made.items() if _content(path) != text)


def write_manifests(distribution: str) -> dict[Path, bool]:
    """Write the manifests of a distribution beside its modules: their paths, and whether each was changed.

    Raises:
        ArtifactError: a file cannot be written, as in a distribution that is not installed for editing.
        PluginError: a file is the manifest of another distribution that is installed.
        SegplugError: as :func:`made_manifests` does.
    """
    made = made_manifests(distribution)
    for path in made:
        _refuse_anothers(path, distribution)
    changed = {path: _content(path) != text for path, text in made.items()}
    for path, is_changed in changed.items():
        if is_changed:
            write_text(path, made[path], force=True)
    discovery.forget()
    return changed


def entry_facts(entry: Entry) -> Facts:
    """The facts of one entry point, whose plugin is imported and checked.

    Raises:
        PluginError: it is broken.
    """
    plugin = import_plugin(entry)
    if entry.hook == "command":
        click = sys.modules.get("click")
        if click is None or not isinstance(plugin, click.Command):
            raise PluginError(f"{entry_label(entry)} is no click command")
        return command_facts(plugin)
    check = check_addon if entry.hook == "addon" else check_provider
    return checked_facts(check(entry, plugin))


def _refuse_anothers(path: Path, distribution: str) -> None:
    """Refuse to replace the manifest of another distribution, which has modules in the same package."""
    try:
        owner = metadata.distribution(read_manifest(path).distribution).name
    except (PluginError, metadata.PackageNotFoundError, ValueError):
        return  # it is not there, or nobody's
    if owner != metadata.distribution(distribution).name:
        raise PluginError(
            f"{path} is the manifest of {owner}, which {distribution} shares a package with",
            hint="give each distribution a package of its own, below a folder without __init__.py",
        )


def _content(path: Path) -> str | None:
    try:
        return read_regular_text(path)
    except (OSError, UnicodeDecodeError):
        return None
