"""Check a plugin after its import: its version, its hook, its options, the hooks that it wraps."""

from __future__ import annotations

import inspect

import pluggy

from segplug import hookspecs
from segplug.errors import PluginError
from segplug.hookspecs import API_VERSION, OLDEST_API_VERSION, PROJECT, SOURCE_HOOKS
from segplug.installed import Entry, Provider
from segplug.registry.loading import entry_label
from segplug.session import Session

__all__ = [
    "check_hook",
    "check_options",
    "check_takes",
    "check_version",
    "check_wraps",
    "new_manager",
    "register",
]

_TAKES = {
    "export": ("model", "artifact", "either"),
    "build_engine": ("model", "artifact"),
    "infer": ("model", "artifact", "url"),
}

# The methods of a session that pass on a provider's options: an option cannot have the name of a keyword.
_METHODS = {"infer": ("open", "evaluate", "verify")}


def check_version(entry: Entry, plugin: object) -> None:
    version = getattr(plugin, "api_version", None)
    if not isinstance(version, int):
        raise PluginError(f"{entry_label(entry)} is broken: it declares no hook API version (api_version)")
    if version > API_VERSION:
        raise PluginError(
            f"{entry_label(entry)} was written for hook API {version}, this segplug has {API_VERSION}",
            hint="upgrade segplug",
        )
    if version < OLDEST_API_VERSION:
        raise PluginError(
            f"{entry_label(entry)} is outdated: hook API {version}, at least {OLDEST_API_VERSION} is needed",
            hint=f"upgrade {entry.distribution}",
        )


def check_takes(provider: Provider) -> None:
    known = _TAKES.get(provider.entry.hook)
    if known and provider.takes not in known:
        raise PluginError(
            f"{entry_label(provider.entry)} is broken: its 'takes' is none of {', '.join(known)}"
        )


def check_hook(entry: Entry, plugin: object) -> None:
    manager = new_manager()
    register(manager, entry, plugin)
    implemented = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    if entry.hook not in implemented:
        raise PluginError(
            f"{entry_label(entry)} is broken: it has no method '{entry.hook}' marked with segplug.hookimpl"
        )
    if entry.hook in SOURCE_HOOKS and not callable(getattr(plugin, "accepts", None)):
        raise PluginError(f"{entry_label(entry)} is broken: a source needs a method 'accepts'")


def check_wraps(entry: Entry, plugin: object) -> None:
    """Refuse an add-on that implements a hook: it would answer in place of every target's provider."""
    manager = new_manager()
    register(manager, entry, plugin)
    for caller in manager.get_hookcallers(plugin) or ():
        if not all(found.wrapper or found.hookwrapper for found in caller.get_hookimpls()):
            raise PluginError(
                f"{entry_label(entry)} is broken: '{caller.name}' must be marked @hookimpl(wrapper=True)"
            )


def check_options(provider: Provider) -> None:
    try:
        specs = provider.option_specs
    except PluginError as error:
        raise PluginError(f"{entry_label(provider.entry)} is broken: {error}") from error
    taken = sorted({spec.name for spec in specs} & _keywords(provider))
    if taken:
        names = ", ".join(taken)
        raise PluginError(
            f"{entry_label(provider.entry)} is broken: it declares options of segplug's own: {names}"
        )


def _keywords(provider: Provider) -> set[str]:
    """The keywords of the Python methods that pass on a provider's options."""
    hook = "pack" if provider.packs else provider.entry.hook
    methods = [getattr(Session, name) for name in _METHODS.get(hook, (hook,))]
    return {name for method in methods for name in inspect.signature(method).parameters}


def new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def register(manager: pluggy.PluginManager, entry: Entry, plugin: object) -> None:
    try:
        manager.register(plugin, name=f"{entry.hook}:{entry.qualified}")
        manager.check_pending()
    except Exception as error:
        raise PluginError(f"{entry_label(entry)} is broken: {error}") from error
