"""Choose one provider by name, import only its plugin, and call its hook.

Every call has a plugin manager of its own, with the hook specifications, the add-ons and the one
provider that was chosen: nothing depends on the order of registration, and a plugin whose
registration fails leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from segplug.dataset import Dataset
from segplug.engine import REFERENCE_BACKEND, Engine
from segplug.errors import PluginError, RefusedError, UsageError
from segplug.hookspecs import HOOKS
from segplug.installed import Entry, Provider
from segplug.model import SegmentationModel
from segplug.options import unknown
from segplug.registry.checks import (
    check_hook,
    check_options,
    check_takes,
    check_version,
    check_wraps,
    new_manager,
    register,
)
from segplug.registry.discovery import addon_entries, entries
from segplug.registry.loading import entry_label, import_plugin, load_command
from segplug.results import AnalyzeReport, Artifact, ConversionReport

__all__ = ["Registry", "hook_name"]

_RESULTS: dict[str, type] = {
    "export": Artifact,
    "build_engine": Artifact,
    "infer": Engine,
    "convert_weights": ConversionReport,
    "analyze": AnalyzeReport,
    "load_model": SegmentationModel,
    "load_dataset": Dataset,
}


def hook_name(word: str) -> str:
    """A hook's name from a user's spelling: ``-`` and ``_`` are the same.

    Raises:
        UsageError: there is no such hook.
    """
    name = word.replace("-", "_")
    if name not in HOOKS:
        raise unknown("hook", word, HOOKS, owner="segplug")
    return name


class Registry:
    """The providers and add-ons of this process.

    Args:
        without_addons: Add-ons not to use; ``SEGPLUG_ADDONS`` in the environment, when set, names
            the only ones to use (empty: none). An add-on may forbid being left out.
    """

    def __init__(self, without_addons: Collection[str] = ()) -> None:
        self._without = frozenset(without_addons)
        self._providers: dict[Entry, Provider] = {}

    @property
    def without_addons(self) -> frozenset[str]:
        """The add-ons that the caller left out: a process that works for this one leaves out the same."""
        return self._without

    def entry(self, hook: str, name: str) -> Entry:
        """The one entry that ``name`` (``target`` or ``distribution:target``) means.

        Raises:
            UsageError: none or several distributions offer it; they are named.
        """
        installed = entries(hook)
        distribution, _, target = name.rpartition(":")
        found = [
            entry
            for entry in installed
            if entry.target == target and (not distribution or entry.distribution == distribution)
        ]
        if not found and hook == "infer" and target == REFERENCE_BACKEND:
            raise UsageError(
                f"infer {target}, which runs the model itself, is not installed",
                hint="pip install segplug-torch",
            )
        if not found:
            names = {entry.qualified if distribution else entry.target for entry in installed}
            raise unknown("target", name, names, owner=hook)
        if len(found) > 1:
            choices = " or ".join(entry.qualified for entry in found)
            raise UsageError(f"{hook} {target} is claimed by more than one plugin", hint=f"ask for {choices}")
        return found[0]

    def provider(self, hook: str, name: str) -> Provider:
        """Load the provider that ``name`` means.

        Raises:
            UsageError: as :meth:`entry` does.
            PluginError: the plugin is broken or outdated; the original exception is the cause.
        """
        return self.load(self.entry(hook, name))

    def resolve(self, hook: str, target: str | Provider) -> Provider:
        """The provider that a name means, or the loaded provider itself.

        Raises:
            UsageError: as :meth:`entry` does, or the provider is one of another hook.
            PluginError: as :meth:`provider` does.
        """
        if isinstance(target, str):
            return self.provider(hook, target)
        if target.entry.hook != hook:
            raise UsageError(f"{target.entry.target} is a target of {target.entry.hook}, not of {hook}")
        return target

    def load(self, entry: Entry) -> Provider:
        """Import and check the plugin of one entry; raises :class:`PluginError` if it is unusable."""
        if entry not in self._providers:
            plugin = import_plugin(entry)
            check_version(entry, plugin)
            check_hook(entry, plugin)
            provider = Provider(entry, plugin)
            check_takes(provider)
            check_options(provider)
            self._providers[entry] = provider
        return self._providers[entry]

    def check(self, entry: Entry) -> Provider:
        """Load any entry, an add-on's or a command's too, and check it; raises :class:`PluginError`."""
        if entry.hook == "addon":
            return Provider(entry, self._addon(entry))
        if entry.hook == "command":
            return Provider(entry, load_command(entry))
        return self.load(entry)

    def call(self, provider: Provider, request: Any, *, inner: object | None = None) -> Any:
        """Call the provider's hook, with all add-ons around it, and check what comes back.

        Args:
            provider: What :meth:`provider` returned.
            request: The hook's request.
            inner: Hook wrappers of the core's own, inside all add-ons: add-ons see what they return.

        Raises:
            RefusedError: an add-on refused, or a mandatory one was left out.
            PluginError: an add-on is broken, or the provider did not return what the hook promises.
            SegplugError: what the provider or an add-on raised.
        """
        hook = provider.entry.hook
        manager = new_manager()
        register(manager, provider.entry, provider.plugin)
        for entry, addon in self.addons():
            register(manager, entry, addon)
        if inner is not None:
            # Marked `trylast` and registered last: the innermost wrapper.
            manager.register(inner)
        result = getattr(manager.hook, hook)(request=request)
        if not isinstance(result, _RESULTS[hook]):
            raise PluginError(
                f"{entry_label(provider.entry)} returned {type(result).__name__} where the hook '{hook}' "
                f"promises {_RESULTS[hook].__name__}"
            )
        return result

    def source(self, hook: str, location: str, name: str | None) -> Provider:
        """The source for a location: the named one, or the only one that accepts it.

        Raises:
            UsageError: none accepts it, or several do; they are named.
        """
        if name is not None:
            return self.provider(hook, name)
        accepting, usable, broken = self._accepting(hook, location)
        if len(accepting) == 1:
            return accepting[0]
        what = "model" if hook == "load_model" else "data set"
        if accepting:
            names = ", ".join(provider.entry.qualified for provider in accepting)
            raise UsageError(f"several sources read {location}: {names}", hint="choose one with --source")
        names = ", ".join(provider.entry.target for provider in usable)
        names = names or "none; a plugin brings one, such as segplug-mmseg or segplug-torch"
        trouble = f"; {'; '.join(broken)}" if broken else ""
        raise UsageError(
            f"no installed source reads a {what} from {location}",
            hint=f"installed sources: {names}{trouble}",
        )

    def is_source(self, hook: str, location: str) -> bool:
        """Whether any installed source accepts a location."""
        return bool(self._accepting(hook, location)[0])

    def sources(self, hook: str) -> list[Provider]:
        """The installed sources that work."""
        return self._accepting(hook, "")[1]

    def _accepting(self, hook: str, location: str) -> tuple[list[Provider], list[Provider], list[str]]:
        """The sources that accept a location, all that work, and why the others do not."""
        usable, broken = [], []
        for entry in entries(hook):
            try:
                usable.append(self.load(entry))
            except PluginError as error:
                broken.append(str(error))
        accepting = [provider for provider in usable if _accepts(provider, location, broken)]
        return accepting, usable, broken

    def addons(self) -> list[tuple[Entry, object]]:
        """The add-ons in use, loaded, in the order of their names.

        An add-on that cannot be loaded is an error, and is not left out silently: it may be a rule.
        """
        installed = addon_entries()
        names = {entry.target for entry in installed}
        for name in sorted((self._without | (_named_in_environment() or set())) - names):
            # A misspelt name would leave the wrong rules in use.
            raise unknown("add-on", name, names, owner="segplug")
        return [(entry, self._addon(entry)) for entry in installed if self._wanted(entry)]

    def _wanted(self, entry: Entry) -> bool:
        only = _named_in_environment()
        left_out = entry.target in self._without or (only is not None and entry.target not in only)
        if not left_out:
            return True
        try:
            mandatory = bool(getattr(self._addon(entry), "mandatory", False))
        except PluginError:
            return False
        if mandatory:
            raise RefusedError(f"the add-on '{entry.target}' ({entry.distribution}) must not be left out")
        return False

    def _addon(self, entry: Entry) -> object:
        if entry not in self._providers:
            try:
                plugin = import_plugin(entry)
                check_version(entry, plugin)
                check_wraps(entry, plugin)
            except PluginError as error:
                raise PluginError(
                    error.message, hint=f"repair or uninstall it, or leave it out: --no-addon {entry.target}"
                ) from error.__cause__
            self._providers[entry] = Provider(entry, plugin)
        return self._providers[entry].plugin


def _named_in_environment() -> set[str] | None:
    value = os.environ.get("SEGPLUG_ADDONS")
    return None if value is None else {name.strip() for name in value.split(",")} - {""}


def _accepts(provider: Provider, location: str, broken: list[str]) -> bool:
    """Whether a source reads ``location``; a source whose ``accepts`` fails is added to ``broken``."""
    accepts = provider.method("accepts")
    try:
        return accepts is not None and bool(accepts(location))
    except Exception as error:
        broken.append(f"{entry_label(provider.entry)} is broken: {type(error).__name__}: {error}")
        return False
