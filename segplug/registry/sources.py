"""Ask the installed sources how sure they are that they read a location."""

from __future__ import annotations

from collections.abc import Callable

from segplug.errors import PluginError
from segplug.installed import Entry, Provider
from segplug.providers import Confidence
from segplug.registry.discovery import entries
from segplug.registry.loading import entry_label

__all__ = ["accepting_sources", "usable_sources"]


def usable_sources(load: Callable[[Entry], Provider], hook: str) -> tuple[list[Provider], list[str]]:
    """The sources of a hook that load, and why the others do not."""
    usable, broken = [], []
    for entry in entries(hook):
        try:
            usable.append(load(entry))
        except PluginError as error:
            broken.append(str(error))
    return usable, broken


def accepting_sources(sources: list[Provider], location: str, broken: list[str]) -> list[Provider]:
    """The sources that are surest that they read ``location``: one, or several that are equally sure.

    A source whose ``accepts`` fails is added to ``broken``.
    """
    sure = {id(source): _confidence(source, location, broken) for source in sources}
    best = max(sure.values(), default=Confidence.NO)
    return [source for source in sources if best > Confidence.NO and sure[id(source)] == best]


def _confidence(source: Provider, location: str, broken: list[str]) -> Confidence:
    label = entry_label(source.entry)
    try:
        answer = source.method("accepts")(location)
    except Exception as error:
        broken.append(f"{label} is broken: {type(error).__name__}: {error}")
        return Confidence.NO
    if not isinstance(answer, Confidence):
        broken.append(f"{label} is broken: its 'accepts' returned {answer!r}, not a Confidence")
        return Confidence.NO
    return answer
