"""The plugin manager of one call: pluggy checks signatures and nests the wrappers around the provider."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pluggy

from segplug import hookspecs
from segplug.dataset import Dataset
from segplug.engine import Engine
from segplug.errors import PluginError
from segplug.groups import PROJECT
from segplug.hookspecs import hookimpl
from segplug.installed import Entry
from segplug.model import SegmentationModel
from segplug.registry.loading import entry_label
from segplug.results import AnalyzeReport, Artifact, ConversionReport
from segplug.scores import RunReport

__all__ = ["RESULTS", "WITH_CALL", "Finish", "addon_hook", "new_manager", "provider_hook", "register"]

RESULTS: dict[str, type] = {
    "export": Artifact,
    "build_engine": Artifact,
    "infer": Engine,
    "convert_weights": ConversionReport,
    "analyze": AnalyzeReport,
    "load_model": SegmentationModel,
    "load_dataset": Dataset,
    "run": RunReport,
    "command": int,
}
"""What each hook promises to return."""

WITH_CALL = (AnalyzeReport, Artifact, ConversionReport, RunReport, SegmentationModel)
"""The results with a field ``call``."""

Finish = Callable[[Any, Any], Any]
"""Gets a request and the provider's result, and returns the finished result."""


def new_manager() -> pluggy.PluginManager:
    """A manager that knows the hooks and no plugin."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def register(manager: pluggy.PluginManager, entry: Entry, plugin: object) -> None:
    """Register a plugin; raises :class:`PluginError` if a method does not fit its hook."""
    try:
        manager.register(plugin, name=f"{entry.hook}:{entry.qualified}")
        manager.check_pending()
    except Exception as error:
        reason = str(error)
        if "not a generator function" in reason:  # pluggy's words for a wrapper without a yield
            reason = "a method that is marked as a wrapper has no yield"
        raise PluginError(f"{entry_label(entry)} is broken: {reason}") from error


def provider_hook(entry: Entry, plugin: object, finish: Finish) -> object:
    """The provider of one call, to be registered: its hook only, whose result is checked and finished."""
    implementation = getattr(plugin, entry.hook)

    @hookimpl
    def finished(request: Any) -> Any:
        result = implementation(request)
        promised = RESULTS[entry.hook]
        if not isinstance(result, promised):
            raise PluginError(
                f"{entry_label(entry)} returned {type(result).__name__} where the hook '{entry.hook}' "
                f"promises {promised.__name__}"
            )
        return finish(request, result)

    return SimpleNamespace(**{entry.hook: finished})


def addon_hook(entry: Entry, plugin: object, hook: str) -> object:
    """An add-on's wrapper of one hook, to be registered, with checks: it yields once, and returns a result.

    pluggy passes on whatever a wrapper returns: without this check the provider would be blamed for it.
    """
    wrapper = getattr(plugin, hook)
    named = f"from its wrapper of '{hook}'"

    @hookimpl(wrapper=True)
    def checked(request: Any) -> Generator[None, Any, Any]:
        wrapping = wrapper(request)
        try:
            next(wrapping)
        except StopIteration:
            raise PluginError(f"{entry_label(entry)} returned {named} before its yield") from None
        try:
            result = yield
        except BaseException as error:
            resume = partial(wrapping.throw, error)
        else:
            resume = partial(wrapping.send, result)
        try:
            resume()
        except StopIteration as end:
            returned = end.value
        else:
            wrapping.close()
            raise PluginError(f"{entry_label(entry)} yielded {named} more than once")
        if not isinstance(returned, RESULTS[hook]):
            raise PluginError(
                f"{entry_label(entry)} returned {type(returned).__name__} {named}, which promises "
                f"{RESULTS[hook].__name__}",
                hint="a wrapper returns the result of its yield",
            )
        if isinstance(returned, WITH_CALL) and returned.call is None:
            return replace(returned, call=request.call)  # a result that the add-on made
        return returned

    return SimpleNamespace(**{hook: checked})
