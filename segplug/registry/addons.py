"""The add-ons in use: which they are, in which order, with which options."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from segplug.errors import PluginError, RefusedError, UsageError
from segplug.installed import Entry, Provider
from segplug.options import unknown
from segplug.registry.checks import check_addon, check_manifest
from segplug.registry.discovery import addon_entries
from segplug.registry.loading import import_plugin, refuse_unusable, refuse_wrong_distribution

__all__ = ["ONLY_VARIABLE", "REQUIRED_VARIABLE", "AddOns"]

ONLY_VARIABLE = "SEGPLUG_ADDONS"
"""When it is set in the environment, it names the only add-ons to use, with commas between (empty: none)."""

REQUIRED_VARIABLE = "SEGPLUG_REQUIRED_ADDONS"
"""Names in the environment the add-ons that must be installed and in use, with commas between."""


class AddOns:
    """The add-ons of one registry.

    An add-on that cannot be loaded stops the run, and is not left out silently: it may be a rule. One that
    its manifest or :data:`REQUIRED_VARIABLE` calls mandatory cannot be left out either; nor can one whose
    manifest cannot be read, since nobody knows whether it is.

    Args:
        without: Add-ons not to use.
        options: Name of an add-on to its own options, keyword to value.
    """

    def __init__(self, without: Collection[str], options: Mapping[str, Mapping[str, Any]]) -> None:
        self.without = frozenset(without)
        self.given = {name: dict(values) for name, values in options.items()}
        self._loaded: dict[Entry, Provider] = {}

    def in_use(self) -> list[Provider]:
        """The add-ons in use, loaded, the outermost first: by order, then by name.

        Raises:
            UsageError: an add-on was named that is not installed: a misspelt name would leave the wrong
                rules in use. Or one has options that it does not declare, or is left out and has options.
            RefusedError: a mandatory one was left out, or a required one is missing.
            PluginError: one is broken or outdated.
        """
        installed = addon_entries()
        names = {entry.target for entry in installed}
        for name in sorted((_named_in(REQUIRED_VARIABLE) or set()) - names):
            raise RefusedError(
                f"the add-on '{name}' must be installed ({REQUIRED_VARIABLE} names it), and is not",
                hint="install its distribution",
            )
        only = _named_in(ONLY_VARIABLE)
        for name in sorted((self.without | self.given.keys() | (only or set())) - names):
            raise unknown("add-on", name, names, owner="segplug")
        left_out = {name for name in names if name in self.without or (only is not None and name not in only)}
        for entry in installed:
            if entry.target in left_out:
                _allow_leaving_out(entry)
        chosen = [entry for entry in installed if entry.target not in left_out]
        for name in sorted(self.given.keys() - {entry.target for entry in chosen}):
            raise UsageError(
                f"the add-on '{name}' is left out, and has options", hint="give one or the other"
            )
        loaded = [self.load(entry) for entry in chosen]
        for addon in loaded:
            self._options_of(addon)  # a wrong option is an error before any work
        return loaded

    def load(self, entry: Entry) -> Provider:
        """Import and check one add-on.

        Raises:
            PluginError: it is broken or outdated.
        """
        if entry not in self._loaded:
            try:
                refuse_unusable(entry)
                refuse_wrong_distribution(entry)
                addon = check_addon(entry, import_plugin(entry))
                check_manifest(addon)
            except PluginError as error:
                way_out = "" if _is_mandatory(entry) else f", or leave it out: --no-addon {entry.target}"
                hint = (error.hint or "repair, upgrade or uninstall it") + way_out
                raise PluginError(error.message, hint=hint) from error.__cause__
            self._loaded[entry] = addon
        return self._loaded[entry]

    def options(self, addon: object) -> Any:
        """The options of an add-on in use.

        Raises:
            UsageError: an option is unknown, ill-typed or out of range.
        """
        for loaded in self._loaded.values():
            if loaded.plugin is addon:
                return self._options_of(loaded)
        raise PluginError(f"{type(addon).__name__} is no add-on in use")

    def _options_of(self, addon: Provider) -> Any:
        return addon.make_options(self.given.get(addon.entry.target, {}))


def _allow_leaving_out(entry: Entry) -> None:
    if _is_mandatory(entry):
        raise RefusedError(
            f"the add-on '{entry.target}' ({entry.distribution}) must not be left out",
            hint=f"it is unusable: {entry.reason}" if entry.status in ("broken", "outdated") else None,
        )


def _is_mandatory(entry: Entry) -> bool:
    required = _named_in(REQUIRED_VARIABLE) or ()
    if entry.facts.mandatory or not entry.facts.kind or entry.target in required:
        return True
    try:  # a manifest that was not written again since the rule became mandatory
        return bool(getattr(import_plugin(entry), "mandatory", False))
    except PluginError:
        return False


def _named_in(variable: str) -> set[str] | None:
    value = os.environ.get(variable)
    return None if value is None else {name.strip() for name in value.split(",")} - {""}
