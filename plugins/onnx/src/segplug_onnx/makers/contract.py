"""What every tool's module gives: whether it made a file, and what its metadata says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from segplug.errors import ArtifactError
from segplug.model import ModelMeta
from segplug.text import printable_line, shortened

__all__ = [
    "Described",
    "File",
    "Folder",
    "Maker",
    "OtherTaskError",
    "OutputKind",
    "Tensor",
    "read_maker",
    "wrong_value",
]

OutputKind = Literal["logits", "probabilities", "labels"]

_SHOWN = 60
"""Characters of a value that a message shows."""


class OtherTaskError(ArtifactError):
    """The file is no network that gives each pixel a class, so that no description of it would help."""


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a graph."""

    name: str
    type: str
    """numpy's name: ``float32``."""
    shape: tuple[int | None, ...] | None
    """``None`` in place of a size that is free; in place of all: not said."""

    @property
    def holds_labels(self) -> bool:
        """Whether its values are whole numbers."""
        return "int" in self.type

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of an image ``(N, C, H, W)``, where both are fixed."""
        if self.shape is None or len(self.shape) != 4:
            return None
        height, width = self.shape[2:]
        return None if height is None or width is None else (height, width)

    def __str__(self) -> str:
        sizes = "x".join("?" if size is None else str(size) for size in self.shape or ())
        return f"{printable_line(shortened(self.name, _SHOWN))} ({self.type} {sizes})"


@dataclass(frozen=True)
class File:
    """An ONNX file that segplug did not write, as far as it says who made it."""

    path: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    """Its ``metadata_props``."""


@dataclass(frozen=True)
class Described:
    """What a tool's own metadata says of a file."""

    meta: ModelMeta
    """``out_channels`` is 0 where only the graph's output shows the number of classes."""
    kind: OutputKind
    """What the output holds."""
    assumed: tuple[str, ...] = ()
    """What the metadata does not say, in a few words each."""


@dataclass(frozen=True)
class Folder:
    """A model's folder in which the file lies: a model source reads it."""

    path: Path
    kind: OutputKind
    output: str
    """The name of the output."""


@dataclass(frozen=True)
class Maker:
    """A tool that writes ONNX files."""

    made: Callable[[File], bool]
    """Whether it made a file. It raises nothing."""
    name: Callable[[File], str]
    """Its name, with its version where the file says it: ``Ultralytics 8.4.190``. It raises nothing."""
    where: str
    """Where its metadata is: ``the metadata in it``."""
    read: Callable[[File], Described | Folder]
    """What its metadata says.

    Raises:
        ArtifactError: it is damaged, or says something that cannot be followed; the message says what.
    """


def read_maker(maker: Maker, file: File) -> Described | Folder:
    """What a tool's metadata says of a file.

    Raises:
        ArtifactError: it is damaged, or cannot be followed exactly. The hint says how to go on without it.
    """
    if not file.inputs:
        raise OtherTaskError(f"{file.path} takes no image: it has no input")
    try:
        return maker.read(file)
    except OtherTaskError:
        raise
    except ArtifactError as error:
        error.add_hint(
            "or describe the file with --output-kind, --mean and --std, which replace what it says"
        )
        raise


def wrong_value(file: File, place: str, value: Any, expected: str) -> ArtifactError:
    """The error for a value that is not what its tool writes."""
    shown = printable_line(shortened(repr(value), _SHOWN))
    return ArtifactError(f"{file.path}: {place} is {shown}, and {expected} is expected")
