"""Choose one provider by name, import only its plugin, and call its hook.

Every call has a plugin manager of its own, with the hook specifications, the add-ons and the one
provider that was chosen: nothing depends on the order of installation, and a plugin whose
registration fails leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from segplug.engine import REFERENCE_BACKEND, Engine
from segplug.errors import PluginError, UsageError, is_interrupt
from segplug.groups import EXECUTOR_HOOK
from segplug.installed import Entry, Provider
from segplug.locations import has_scheme
from segplug.options import unknown
from segplug.providers import Confidence
from segplug.registry.addons import AddOns
from segplug.registry.checks import check_manifest, check_provider
from segplug.registry.discovery import entries
from segplug.registry.hooks import Finish, addon_hook, new_manager, provider_hook
from segplug.registry.hub import how_to_download
from segplug.registry.loading import import_plugin, load_command, refuse_unusable, refuse_wrong_distribution
from segplug.registry.sources import accepting_sources, usable_sources

__all__ = ["Registry"]


class Registry:
    """The providers and add-ons of this process.

    Args:
        without_addons: Add-ons not to use; see :class:`segplug.registry.addons.AddOns`.
        addon_options: Name of an add-on to its own options, keyword to value.
    """

    def __init__(
        self,
        without_addons: Collection[str] = (),
        addon_options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._addons = AddOns(without_addons, addon_options or {})
        self._providers: dict[Entry, Provider] = {}

    @property
    def without_addons(self) -> frozenset[str]:
        """The add-ons that the caller left out: a process that works for this one leaves out the same."""
        return self._addons.without

    @property
    def given_addon_options(self) -> Mapping[str, Mapping[str, Any]]:
        """The options of add-ons as they were given: a process that works for this one needs the same."""
        return self._addons.given

    def addon_options(self, addon: object) -> Any:
        """The options of an add-on in use, an instance of its declared dataclass."""
        return self._addons.options(addon)

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
            raise unknown("target", name, names, owner="executor" if hook == EXECUTOR_HOOK else hook)
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

    def resolve(self, hook: str, target: str | Entry | Provider) -> Provider:
        """The provider that a name or an entry means, or the loaded provider itself.

        Raises:
            UsageError: as :meth:`entry` does, or the provider is one of another hook.
            PluginError: as :meth:`provider` does.
        """
        if isinstance(target, str):
            return self.provider(hook, target)
        entry = target if isinstance(target, Entry) else target.entry
        if entry.hook != hook:
            raise UsageError(f"{entry.target} is a target of {entry.hook}, not of {hook}")
        return self.load(target) if isinstance(target, Entry) else target

    def load(self, entry: Entry) -> Provider:
        """Import and check the plugin of one entry; raises :class:`PluginError` if it is unusable."""
        if entry not in self._providers:
            refuse_unusable(entry)
            refuse_wrong_distribution(entry)
            provider = check_provider(entry, import_plugin(entry))
            check_manifest(provider)
            self._providers[entry] = provider
        return self._providers[entry]

    def check(self, entry: Entry) -> Provider:
        """Load any entry, an add-on's or a command's too, and check it; raises :class:`PluginError`."""
        if entry.hook == "addon":
            return self._addons.load(entry)
        if entry.hook == "command":
            command = Provider(entry, load_command(entry), object)
            check_manifest(command)
            return command
        return self.load(entry)

    def call(self, provider: Provider, request: Any, finish: Finish) -> Any:
        """Call the provider's hook, with all add-ons around it.

        Args:
            provider: What :meth:`provider` returned.
            request: The hook's request.
            finish: Completes the provider's result, inside all add-ons: they see what it returns.

        Raises:
            RefusedError: an add-on refused, or a mandatory one was left out or is missing.
            PluginError: an add-on is broken, or one or the provider did not return what the hook promises.
            SegplugError: what the provider or an add-on raised.
        """
        hook = provider.entry.hook
        opened: list[Engine] = []

        def kept(request: Any, result: Any) -> Any:
            if isinstance(result, Engine):
                opened.append(result)
            return finish(request, result)

        manager = new_manager()
        manager.register(provider_hook(provider.entry, provider.plugin, kept))
        # pluggy calls what was registered last first: the outermost add-on is registered last.
        for addon in reversed(self._addons.in_use()):
            if hook in addon.entry.facts.versions:
                manager.register(addon_hook(addon.entry, addon.plugin, hook))
        try:
            return getattr(manager.hook, hook)(request=request)
        except BaseException as error:
            for engine in opened:
                engine.close()  # an add-on refused it: nobody else has it
            if isinstance(error, Exception) or is_interrupt(error):
                raise
            # Code of a plugin, or of the user's network, would end the process, with an exit code of its own.
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise PluginError(f"{hook} {provider.entry.target} was ended by {reason}") from error

    def source(
        self,
        hook: str,
        location: str,
        name: str | None,
        *,
        warn: Callable[[str], None] | None = None,
    ) -> Provider:
        """The source for a location: the named one, or the one that is surest that it reads it.

        Args:
            hook: ``load_model`` or ``load_dataset``.
            location: A config or a folder.
            name: The source that the caller chose.
            warn: Gets a line on each source that is broken, and might have been surer.

        Raises:
            UsageError: none accepts it, or several are equally sure; they are named.
        """
        if name is not None:
            return self.provider(hook, name)
        usable, broken = usable_sources(self.load, hook)
        accepting = accepting_sources(usable, location, broken)
        if len(accepting) == 1:
            if warn is not None and accepting[0].method("accepts")(location) < Confidence.LIKELY:
                for reason in broken:
                    warn(reason)
            return accepting[0]
        what = "model" if hook == "load_model" else "data set"
        if accepting:
            names = ", ".join(provider.entry.qualified for provider in accepting)
            flag = "--source" if hook == "load_model" else "--dataset-source"
            raise UsageError(f"several sources read {location}: {names}", hint=f"choose one with {flag}")
        trouble = f"; {'; '.join(broken)}" if broken else ""
        if how := how_to_download(location, hook):
            raise UsageError(f"there is no file or folder {location}", hint=how + trouble)
        names = ", ".join(provider.entry.target for provider in usable)
        names = names or "none; a plugin brings one, such as segplug-mmseg or segplug-torch"
        missing = not has_scheme(location) and not os.path.lexists(os.path.expanduser(location))
        function = ""
        if what == "model" and not missing and location.endswith(".py"):
            function = f"; a function or class in it that makes a network is python:{location}:NAME"
        raise UsageError(
            f"no installed source reads a {what} from {location}"
            + (": there is no such file or folder" if missing else ""),
            hint=f"installed sources: {names}{trouble}{function}",
        )

    def is_source(self, hook: str, location: str) -> bool:
        """Whether any installed source accepts a location."""
        usable, broken = usable_sources(self.load, hook)
        return bool(accepting_sources(usable, location, broken))

    def sources(self, hook: str) -> list[Provider]:
        """The installed sources that work."""
        return usable_sources(self.load, hook)[0]
