"""An installed entry point with the facts of its manifest, and the loaded provider that it names.

Listings and help texts import this module: it imports nothing that they do not need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from segplug.options import OptionSpec

__all__ = ["Entry", "Facts", "Provider", "Status"]

Status = Literal["available", "duplicate", "outdated", "broken"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a manifest says of one target: known without importing its plugin.

    Attributes:
        kind: The base class of its provider (:mod:`segplug.providers`): ``Exporter``. ``Command`` for a
            command.
        versions: Hook to the version of it that the provider was written for; several for an add-on.
        about: One line for listings.
        takes: ``model``, ``artifact``, ``either`` or ``url``; empty where that means nothing.
        reads: The formats that it opens; empty if it takes no artifacts.
        suffix: What the names of its artifacts end in, with the dot; empty for a folder, and for what makes
            none.
        verify_with: The ``infer`` target that verifies its artifacts; empty: none.
        default_device: The device of a backend if none is asked for.
        precisions: The precisions of a maker.
        mandatory: Whether an add-on must not be left out.
        order: The place of an add-on: the lowest is the outermost.
        sidecars: What the names of the files end in that an add-on writes beside an artifact.
    """

    kind: str
    versions: Mapping[str, int]
    about: str = ""
    takes: str = ""
    reads: tuple[str, ...] = ()
    suffix: str = ""
    verify_with: str = ""
    default_device: str = ""
    precisions: tuple[str, ...] = ()
    mandatory: bool = False
    order: int = 0
    sidecars: tuple[str, ...] = ()


_NO_FACTS = Facts(kind="", versions={})


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
    facts: Facts = field(default=_NO_FACTS, hash=False)
    """What the manifest says; nothing, where the status is ``broken``."""
    status: Status = "available"
    reason: str = ""
    """Why the status is not ``available``; or, for an older hook version, when it will not be any more."""

    def __repr__(self) -> str:
        status = "" if self.status == "available" else f", {self.status}"
        return f"<Entry {self.hook} {self.target}: {self.distribution} {self.version}{status}>"

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
        from importlib.metadata import EntryPoint

        return EntryPoint(name=self.target, value=self.value, group="").load()


@dataclass(frozen=True)
class Provider:
    """A loaded provider: the plugin's object, its base class, and where it came from."""

    entry: Entry
    plugin: object
    base: type
    """The class of :mod:`segplug.providers` that declares its attributes. The object need not extend it."""

    @cached_property
    def options(self) -> type:
        """The dataclass of the provider's own options."""
        from segplug.options import NoOptions

        declared: type = getattr(self.plugin, "options", NoOptions)
        return declared

    @cached_property
    def option_specs(self) -> tuple[OptionSpec, ...]:
        """The provider's own options, read from their declaration."""
        from segplug.options import option_specs

        return option_specs(self.options)

    @property
    def takes(self) -> str:
        """What the provider works on: ``model``, ``artifact``, ``either`` or ``url``."""
        return self.entry.facts.takes

    @property
    def packs(self) -> bool:
        """Whether this exporter packs for a server, and traces nothing itself."""
        return self.entry.facts.kind == "Packer"

    def device(self, asked: str | None) -> str:
        """The device that was asked for, else the target's default."""
        return self.entry.facts.default_device if asked is None else asked

    @property
    def help(self) -> str:
        """The provider's own description: the object's docstring, or its line in listings."""
        text = getattr(self.plugin, "help" if self.entry.hook == "command" else "__doc__", None)
        return text.strip() if isinstance(text, str) and text.strip() else self.entry.facts.about

    def attribute(self, name: str) -> Any:
        """A declared attribute, or the base class's default."""
        return getattr(self.plugin, name) if hasattr(self.plugin, name) else getattr(self.base, name)

    def method(self, name: str) -> Callable[..., Any]:
        """A declared method beyond the hook itself, or the base class's own."""
        own: Callable[..., Any] | None = getattr(self.plugin, name, None)
        return partial(getattr(self.base, name), self.plugin) if own is None else own

    def make_options(self, given: dict[str, Any]) -> Any:
        """Check keywords against the declaration; raises :class:`UsageError`."""
        from segplug.options import build_options

        return build_options(self.options, given, owner=f"{_word(self.entry.hook)} {self.entry.target}")


def _word(hook: str) -> str:
    return "add-on" if hook == "addon" else hook
