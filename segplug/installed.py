"""An installed entry point, and the provider that it names once its module is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint
from typing import Any, Literal

from segplug.options import NoOptions, OptionSpec, build_options, option_specs

__all__ = ["Entry", "Provider", "Status"]

Status = Literal["available", "duplicate", "broken"]


@dataclass(frozen=True)
class Entry:
    """One entry point: a claim that a distribution implements a target (or is an add-on)."""

    hook: str
    """The hook, or ``addon`` or ``command``."""
    target: str
    value: str
    """``module:attribute``."""
    distribution: str
    version: str
    summary: str
    """The distribution's own one-line description."""
    status: Status = "available"
    reason: str = ""
    """Why the status is not ``available``."""

    @property
    def qualified(self) -> str:
        """The name that is unique even when two distributions claim the target."""
        return f"{self.distribution}:{self.target}"

    @property
    def name(self) -> str:
        """The shortest unique name: the target, or ``qualified`` if two distributions claim the target."""
        return self.qualified if self.status == "duplicate" else self.target

    def load(self) -> object:
        """Import the plugin's module and return the object that the entry names."""
        return EntryPoint(name=self.target, value=self.value, group="").load()


@dataclass(frozen=True)
class Provider:
    """A loaded provider: the plugin's object and where it came from."""

    entry: Entry
    plugin: object

    @cached_property
    def options(self) -> type:
        """The dataclass of the provider's own options."""
        declared: type = getattr(self.plugin, "options", NoOptions)
        return declared

    @cached_property
    def option_specs(self) -> tuple[OptionSpec, ...]:
        """The provider's own options, read from their declaration."""
        return option_specs(self.options)

    @property
    def takes(self) -> str:
        """What the provider works on: ``model`` or ``artifact``; ``either`` for an exporter that packs both
        for a server; ``url`` for an ``infer`` target whose engine is a server.
        """
        default = "model" if self.entry.hook == "export" else "artifact"
        return str(getattr(self.plugin, "takes", default))

    @property
    def packs(self) -> bool:
        """Whether this exporter packs an artifact or a config into a folder, and traces nothing itself."""
        return self.entry.hook == "export" and self.takes != "model"

    @property
    def default_device(self) -> str:
        """The device of an ``infer`` target if none is given."""
        return str(getattr(self.plugin, "default_device", "cpu"))

    def device(self, asked: str | None) -> str:
        """The device that was asked for, else the target's default."""
        return asked or self.default_device

    @property
    def help(self) -> str:
        """The provider's own description: the object's docstring, or its distribution's summary."""
        text = getattr(self.plugin, "help" if self.entry.hook == "command" else "__doc__", None)
        return text.strip() if isinstance(text, str) and text.strip() else self.entry.summary

    def method(self, name: str) -> Callable[..., Any] | None:
        """A method beyond the hook itself, if the provider has it."""
        found = getattr(self.plugin, name, None)
        return found if callable(found) else None

    def make_options(self, given: dict[str, Any]) -> Any:
        """Check keywords against the declaration; raises :class:`UsageError`."""
        return build_options(self.options, given, owner=f"{self.entry.hook} {self.entry.target}")
