"""What the hooks return, as plain data: artifacts, reports, and how weights fit a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from segplug.model import ModelMeta

__all__ = [
    "AnalyzeReport",
    "Artifact",
    "BackboneFit",
    "ConversionReport",
    "Figure",
    "Precision",
    "ResizedTensor",
    "Table",
]

Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""The arithmetic of an artifact."""


@dataclass(frozen=True)
class ResizedTensor:
    """A table of positions that was brought to another size, as the source's framework does it."""

    name: str
    before: tuple[int, ...]
    """Its shape in the weights."""
    after: tuple[int, ...]
    """Its shape in the network."""
    how: str
    """The method, in a few words: ``bicubic, 14x14 to 32x32``."""


@dataclass(frozen=True)
class BackboneFit:
    """How weights fit the backbone of a model. They were loaded strictly if ``fits``."""

    backbone: str
    """What the source calls the network: ``VisionTransformer``."""
    state: Mapping[str, torch.Tensor]
    """The weights as they were loaded: position tables resized, ``left_out`` left out."""
    resized: tuple[ResizedTensor, ...] = ()
    left_out: tuple[str, ...] = ()
    """Names of parts that this network is built without, and may be."""
    missing: tuple[str, ...] = ()
    """Names of the network that the weights lack."""
    unexpected: tuple[str, ...] = ()
    """Names of the weights that the network lacks."""
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    """Name, shape in the weights, shape in the network."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the config builds the backbone with, the source's own defaults included: plain data. What no shape
    tells is there, too: heads, kinds of activations, strides."""

    @property
    def fits(self) -> bool:
        """Whether nothing is missing, unexpected, or of another shape."""
        return not (self.missing or self.unexpected or self.misshaped)


@dataclass(frozen=True)
class Artifact:
    """A file (or folder) on disk that a hook made, and what is known of it."""

    path: Path
    format: str
    """The target that made it: ``onnx``, ``tensorrt``, ..."""
    meta: ModelMeta
    size: int = 0
    """Bytes on disk."""
    sha256: str = ""


@dataclass(frozen=True)
class ConversionReport:
    """What a weight conversion did."""

    destination: Path | None
    """``None``: nothing was written (a dry run)."""
    data: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know to use the weights rightly, a sentence each."""


@dataclass(frozen=True)
class Table:
    """Rows for people; numbers stay numbers until they are printed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    only_csv: bool = False
    """Too large for a screen or a page: written where CSV files are, and nowhere else."""


@dataclass(frozen=True)
class Figure:
    """A picture of a report's data, drawn when somebody wants to see it."""

    title: str
    draw: Callable[[], bytes]
    """Makes the whole picture file, in ``media_type``."""
    media_type: Literal["image/png", "image/svg+xml", "image/jpeg"] = "image/png"
    description: str = ""
    """What the picture shows, for those who cannot see it."""
    text: str = ""
    """The picture in characters, for terminals: lines without colour codes. Empty: none."""


@dataclass(frozen=True)
class AnalyzeReport:
    """A report: data first (JSON types), and the tables and figures that show it."""

    title: str
    data: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know to read the numbers rightly, a sentence each."""
    failures: tuple[str, ...] = ()
    """What the report was to hold and does not, a line each: the command then exits with 1."""
    text: str = ""
    """The report itself, where it is a text: printed as it is, before everything else."""
