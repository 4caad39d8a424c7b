"""What a model file says of itself besides its metadata, as the maker of its format reads it. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from segplug.engine import Axis, limit_axes
from segplug.model import InputLimits, ModelMeta

__all__ = ["FileDescription", "NamedAxis", "TensorDescription"]


@dataclass(frozen=True)
class NamedAxis:
    """One axis of an input or output: its name in the file, if it has one, and the sizes that it takes."""

    sizes: Axis
    name: str = ""

    def __str__(self) -> str:
        return str(self.sizes.minimum) if self.sizes.is_fixed else self.name or "?"


@dataclass(frozen=True)
class TensorDescription:
    """An input or an output of a network."""

    name: str
    type: str
    """numpy's name: ``float32``, ``int64``."""
    axes: tuple[NamedAxis, ...] | None
    """``None``: the file does not say how many."""

    @property
    def shape(self) -> str:
        """``batch x 3 x height x width``."""
        if self.axes is None:
            return "not said"
        return " x ".join(map(str, self.axes)) or "one value"

    def limited(self, limits: InputLimits | None) -> TensorDescription:
        """The same with its free heights and widths limited; an input that is no ``(N, C, H, W)`` stays."""
        if self.axes is None or len(self.axes) != 4:
            return self
        sizes = limit_axes(self.axes[2].sizes, self.axes[3].sizes, limits)
        own = (replace(axis, sizes=size) for axis, size in zip(self.axes[2:], sizes, strict=True))
        return replace(self, axes=(*self.axes[:2], *own))

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        axes = (
            None if self.axes is None else [{"name": axis.name, **asdict(axis.sizes)} for axis in self.axes]
        )
        return {"name": self.name, "type": self.type, "axes": axes}


@dataclass(frozen=True)
class FileDescription:
    """What a file says of itself."""

    what: str
    """The kind of file in a few words: ``ONNX file``."""
    inputs: tuple[TensorDescription, ...] = ()
    outputs: tuple[TensorDescription, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    """More facts, by a few words for each: JSON types. A mapping is a list of names with numbers or texts."""
    next: tuple[str, ...] = ()
    """Command lines that use the file, where segplug's own would not do: for a file without metadata, or a
    package for a server."""
    notes: tuple[str, ...] = ()
    """What one should know before using the file, one sentence each."""
    meta: ModelMeta | None = None
    """What the metadata of another tool says in the file or beside it, as segplug's. ``None``: there is none,
    or it is segplug's own."""
    folder: Path | None = None
    """A model's folder in which the file lies: its source says more (:meth:`Session.describe_model`)."""
