"""Check a plugin after its import: its attributes, its hook, its options, and that its manifest fits."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from segplug.errors import PluginError
from segplug.installed import Entry, Facts, Provider
from segplug.options import NoOptions, OptionSpec, nearest, option_specs
from segplug.providers import KINDS, Maker, Packer
from segplug.registry.facts import command_facts, facts_of
from segplug.registry.hooks import new_manager, register
from segplug.registry.loading import entry_label
from segplug.registry.names import WRAPPED, ignored_names
from segplug.session import Session
from segplug.versions import CHANGES_PAGE

__all__ = ["check_addon", "check_manifest", "check_provider", "checked_facts"]

# The methods of a session that pass on a provider's options: an option cannot have the name of a keyword.
_METHODS = {
    "infer": ("open", "evaluate", "verify"),
    "load_model": ("load_model", "config_text", "upgraded_text", "fit_backbone"),
    "run": (),
}

_UNLISTED: Mapping[str, tuple[type, str]] = {
    "example": (str, "text"),
    "output_flags": (tuple, "a tuple"),
    "precision_flags": (Mapping, "a mapping"),
    "needs_subjects": (bool, "True or False"),
    "renames": (bool, "True or False"),
}
"""The attributes that are in no manifest: their types, and those in words."""


def check_provider(entry: Entry, plugin: object) -> Provider:
    """The provider that an imported object is.

    Raises:
        PluginError: the object is none; the first fault that was found.
    """
    with _own_faults(entry):
        _refuse_no_object(entry, plugin)
        base = _base_of(entry, plugin)
        _check_names(entry, plugin, base)
        if not isinstance(getattr(plugin, "hook_version", None), int):
            raise _broken(entry, "it does not say its hook_version, such as 2")
        _check_hook(entry, plugin)
        provider = Provider(entry, plugin, base)
        _check_methods(entry, plugin, base)
        _check_unlisted(provider)
        specs = _options_of(entry, plugin)
        taken = sorted({spec.name for spec in specs} & _keywords(provider))
        if taken:
            raise _broken(entry, f"it declares options of segplug's own: {', '.join(taken)}")
        return provider


def check_addon(entry: Entry, plugin: object) -> Provider:
    """The add-on that an imported object is.

    Raises:
        PluginError: the object is none; the first fault that was found.
    """
    with _own_faults(entry):
        _refuse_no_object(entry, plugin)
        (base,) = KINDS["addon"]
        _check_names(entry, plugin, base)
        versions = getattr(plugin, "hook_versions", None)
        if not isinstance(versions, Mapping):
            raise _broken(entry, "it does not say its hook_versions, such as {'export': 2}")
        for name in versions:
            if name not in WRAPPED:
                raise _broken(entry, f"its hook_versions name '{name}', {_no_hook(name)}")
        wrapped = _wrapped_hooks(entry, plugin)
        if set(versions) != wrapped:
            raise _broken(
                entry, f"its hook_versions name {_listed(versions)}, and it wraps {_listed(wrapped)}"
            )
        _options_of(entry, plugin)
        return Provider(entry, plugin, base)


def check_manifest(provider: Provider) -> None:
    """Compare the manifest with what the class, or for a plugin's own command the command, says.

    Raises:
        PluginError: they differ; the first difference is named.
    """
    entry = provider.entry
    what = "command" if entry.hook == "command" else "class"
    actual = command_facts(provider.plugin) if entry.hook == "command" else checked_facts(provider)
    for field in fields(actual):
        said, found = getattr(entry.facts, field.name), getattr(actual, field.name)
        if said != found:
            raise PluginError(
                f"{entry_label(entry)} is broken: its manifest does not fit its {what}: "
                f"'{field.name}' is {said!r} in the manifest and {found!r} in the {what}",
                hint=f"segplug plugins manifest {entry.distribution}",
            )


def checked_facts(provider: Provider) -> Facts:
    """The facts of a provider's or an add-on's class.

    Raises:
        PluginError: an attribute has a wrong type or value; it is named.
    """
    entry = provider.entry
    with _own_faults(entry):
        try:
            return facts_of(entry.hook, entry.target, provider.plugin, provider.base)
        except PluginError as error:
            raise _broken(entry, error.message) from error


@contextmanager
def _own_faults(entry: Entry) -> Iterator[None]:
    """Report what a plugin's own code raises, such as a property that is read, as the plugin's fault."""
    try:
        yield
    except PluginError:
        raise
    except Exception as error:
        raise _broken(entry, f"{type(error).__name__}: {error}") from error


def _broken(entry: Entry, reason: str) -> PluginError:
    return PluginError(f"{entry_label(entry)} is broken: {reason}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _refuse_no_object(entry: Entry, plugin: object) -> None:
    if hasattr(plugin, "api_version"):
        raise PluginError(
            f"{entry_label(entry)} was written for segplug 0.1: it says api_version, not hook_version",
            hint=f"what changed: {CHANGES_PAGE}",
        )
    if inspect.ismodule(plugin) or inspect.isclass(plugin):
        kind = "module" if inspect.ismodule(plugin) else "class"
        raise _broken(entry, f"it is a {kind}; an object of a class is needed (segplug.providers)")


def _base_of(entry: Entry, plugin: object) -> type:
    """The base class that declares the object's attributes: its own, or else that of its hook."""
    bases = KINDS[entry.hook]
    found = [base for base in bases if isinstance(plugin, base)]
    others = [
        base
        for hook, kinds in KINDS.items()
        for base in kinds
        if isinstance(plugin, base) and hook != entry.hook
    ]
    if not found and others:
        raise _broken(entry, f"it is a {others[0].__name__}, and {entry.hook} needs a {bases[0].__name__}")
    if found:
        return found[0]
    if len(bases) > 1:
        return bases[0] if getattr(plugin, "takes", "model") == "model" else Packer
    return bases[0]


def _check_names(entry: Entry, plugin: object, base: type) -> None:
    for reason in ignored_names(plugin, base):
        raise _broken(entry, reason)


def _check_hook(entry: Entry, plugin: object) -> None:
    _refuse_unknown_hooks(entry, plugin)
    manager = new_manager()
    register(manager, entry, plugin)
    implemented = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    if entry.hook not in implemented:
        raise _broken(entry, f"it has no method '{entry.hook}' marked with segplug.hookimpl")


def _check_methods(entry: Entry, plugin: object, base: type) -> None:
    for name in sorted(getattr(base, "__abstractmethods__", ())):
        if not callable(getattr(plugin, name, None)):
            raise _broken(entry, f"it has no method '{name}', which every {base.__name__} needs")
    for name in dir(base):
        found = inspect.getattr_static(base, name)
        if inspect.isfunction(found) and not callable(getattr(plugin, name, found)):
            raise _broken(entry, f"its '{name}' must be a method")


def _check_unlisted(provider: Provider) -> None:
    """Check the attributes that no manifest holds, and so :func:`facts_of` does not read."""
    entry = provider.entry
    for name, (kind, words) in _UNLISTED.items():
        value = provider.attribute(name) if hasattr(provider.base, name) else None
        if value is not None and not isinstance(value, kind):
            raise _broken(entry, f"its '{name}' must be {words}, not {value!r}")
    levels = provider.attribute("shared_levels") if provider.base is Packer else 0
    if type(levels) is not int or levels < 0:
        raise _broken(entry, f"its 'shared_levels' must be a whole number of at least 0, not {levels!r}")
    if not issubclass(provider.base, Maker):
        return
    precisions: Mapping[Any, Any] = provider.attribute("precision_flags")
    for flag in (*provider.attribute("output_flags"), *precisions):
        if not isinstance(flag, str) or not flag.startswith("--"):
            raise _broken(entry, f"a flag begins with '--', not {flag!r}")
    for flag, precision in precisions.items():
        if precision not in provider.attribute("precisions"):
            raise _broken(entry, f"its 'precisions' do not hold {precision!r}, which {flag} means")


def _wrapped_hooks(entry: Entry, plugin: object) -> set[str]:
    """The hooks that an add-on wraps. One that implements a hook would answer in place of every provider."""
    _refuse_unknown_hooks(entry, plugin)
    manager = new_manager()
    register(manager, entry, plugin)
    callers = manager.get_hookcallers(plugin) or ()
    for caller in callers:
        for found in caller.get_hookimpls():
            if not found.wrapper:
                raise _broken(entry, f"'{caller.name}' must be marked @hookimpl(wrapper=True)")
            if found.tryfirst or found.trylast:
                raise _broken(
                    entry, f"'{caller.name}' is marked tryfirst or trylast; its place is its 'order'"
                )
    wrapped = {caller.name for caller in callers}
    for name in sorted(set(WRAPPED) - wrapped):
        if callable(getattr(plugin, name, None)):
            raise _broken(entry, f"'{name}' must be marked @hookimpl(wrapper=True)")
    return wrapped


def _refuse_unknown_hooks(entry: Entry, plugin: object) -> None:
    for name in dir(plugin):
        # Read without running properties: they may need a library, or a state, that is not there yet.
        found = inspect.getattr_static(plugin, name, None)
        marked = getattr(getattr(found, "__func__", found), "segplug_impl", None)
        if isinstance(marked, dict) and name not in WRAPPED:
            raise _broken(entry, f"its method '{name}' is marked with hookimpl, {_no_hook(name)}")


def _no_hook(name: str) -> str:
    guess = nearest(str(name), WRAPPED)
    return "and there is no hook of that name" + (f"; did you mean '{guess}'?" if guess else "")


def _options_of(entry: Entry, plugin: object) -> tuple[OptionSpec, ...]:
    declared: Any = getattr(plugin, "options", NoOptions)
    named = _named_options(type(plugin))
    if named not in (None, NoOptions) and declared is NoOptions:
        name = named.__name__
        raise _broken(entry, f"its class names {name} as its options, and does not say 'options = {name}'")
    if not inspect.isclass(declared):
        raise _broken(entry, f"its 'options' must be a class, not {declared!r}")
    try:
        return option_specs(declared)
    except PluginError as error:
        raise _broken(entry, error.message) from error


def _named_options(kind: type) -> type | None:
    """The options class in the brackets of a base class, as in ``Backend[Options]``, if there is one."""
    for parent in kind.__mro__:
        for base in vars(parent).get("__orig_bases__", ()):
            found = [item for item in typing.get_args(base) if dataclasses.is_dataclass(item)]
            if found and isinstance(found[0], type):
                return found[0]
    return None


def _keywords(provider: Provider) -> set[str]:
    """The keywords of the Python methods that pass on a provider's options."""
    hook = "pack" if isinstance(provider.plugin, Packer) or provider.base is Packer else provider.entry.hook
    methods = [getattr(Session, name) for name in _METHODS.get(hook, (hook,))]
    return {name for method in methods for name in inspect.signature(method).parameters}
