"""The results of the hooks: artifacts, reports, and how weights fit a network. Plain data."""

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
    """A table of positions that was resized to the network's size, as the source's framework does it."""

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
    """Names of optional weights that the network lacks."""
    missing: tuple[str, ...] = ()
    """Names of the network that the weights lack."""
    unexpected: tuple[str, ...] = ()
    """Names of the weights that the network lacks."""
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    """Name, shape in the weights, shape in the network."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The arguments that the config builds the backbone with, the source's defaults included: plain data.
    They hold what shapes do not show: heads, activations, strides."""

    @property
    def fits(self) -> bool:
        """Whether nothing is missing, unexpected, or of another shape."""
        return not (self.missing or self.unexpected or self.misshaped)


@dataclass(frozen=True)
class Artifact:
    """A file (or folder) on disk that a hook made, and its metadata."""

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
    """How to use the weights correctly, one sentence each."""


@dataclass(frozen=True)
class Table:
    """Rows for people; numbers stay numbers until they are printed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    only_csv: bool = False
    """Too large for a screen or a page: only written as a CSV file."""


@dataclass(frozen=True)
class Figure:
    """A picture of a report's data; it is drawn only if it is shown or written."""

    title: str
    draw: Callable[[], bytes]
    """Makes the whole picture file, in ``media_type``."""
    media_type: Literal["image/png", "image/svg+xml", "image/jpeg"] = "image/png"
    description: str = ""
    """What the picture shows, as text for people who cannot see it."""
    text: str = ""
    """The picture in characters, for terminals: lines without colour codes. Empty: none."""


@dataclass(frozen=True)
class AnalyzeReport:
    """A report: its data (JSON types), and tables and figures of the data."""

    title: str
    data: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    """How to read the numbers correctly, one sentence each."""
    failures: tuple[str, ...] = ()
    """Checks of the report that failed, one line each; the command then exits with 1."""
    text: str = ""
    """The report itself, if it is a text: printed before everything else."""
