"""Import one plugin; the error names the plugin that failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from segplug.errors import PluginError, is_interrupt
from segplug.installed import Entry

if TYPE_CHECKING:
    import click

__all__ = ["entry_label", "import_plugin", "load_command", "refuse_unusable", "refuse_wrong_distribution"]

_NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}
"""What libraries read when they are imported. ONNX Runtime 1.31 otherwise sends data on its use to Microsoft,
in a thread of its own, and leaves files in the folders of temporary and cached files."""


def entry_label(entry: Entry) -> str:
    """The name of a plugin's entry in messages."""
    kind = "add-on" if entry.hook == "addon" else entry.hook
    version = f" {entry.version}" if entry.version else ""
    return f"{kind} {entry.target} ({entry.distribution}{version})"


def refuse_unusable(entry: Entry) -> None:
    """Refuse an entry that metadata alone shows to be unusable.

    Raises:
        PluginError: it is broken or outdated.
    """
    if entry.status in ("broken", "outdated"):
        raise PluginError(f"{entry_label(entry)} is {entry.status}: {entry.reason}")


def refuse_wrong_distribution(entry: Entry) -> None:
    """Refuse an entry whose manifest names a distribution that has no such entry point.

    Raises:
        PluginError: it does.
    """
    from importlib import metadata

    try:
        points = list(metadata.distribution(entry.distribution).entry_points)
    except (metadata.PackageNotFoundError, ValueError):
        points = []
    if not any((point.name, point.value) == (entry.target, entry.value) for point in points):
        raise PluginError(
            f"{entry_label(entry)} is broken: its manifest names the distribution {entry.distribution}, "
            "which does not have this entry point"
        )


def import_plugin(entry: Entry) -> object:
    """Import a plugin; raises :class:`PluginError` with the reason, whatever it is.

    Libraries do not report their use to anybody, unless the user's environment says that they may.
    """
    for name, value in _NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    try:
        return entry.load()
    except BaseException as error:
        if is_interrupt(error):
            raise
        # A plugin can fail in any way while it is imported, SystemExit included.
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise PluginError(f"{entry_label(entry)} is broken: {reason}") from error


def load_command(entry: Entry) -> click.Command:
    """Import a plugin's own command; raises :class:`PluginError` if it is broken, or none."""
    import click

    if entry.status == "duplicate":
        raise PluginError(f"the command '{entry.target}' is {entry.reason}", hint="uninstall one of them")
    refuse_unusable(entry)
    command = import_plugin(entry)
    if not isinstance(command, click.Command):
        raise PluginError(f"{entry_label(entry)} is no click command")
    return command
