"""One frozen request for each hook, and the results that are plain data.

A request's fields are what every target of the hook understands. What only one target understands
is in ``options``: an instance of the dataclass that the provider declared. New fields come with
defaults, so that a hook can grow without breaking an installed plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import UsageError
from segplug.reporting import QuietReporter, Reporter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from segplug.api import Segplug
    from segplug.model import ModelMeta, SegmentationModel

__all__ = [
    "AnalyzeReport",
    "AnalyzeRequest",
    "Artifact",
    "BackboneFit",
    "BuildEngineRequest",
    "ConversionReport",
    "ConvertWeightsRequest",
    "ExportRequest",
    "Figure",
    "InferRequest",
    "LoadDatasetRequest",
    "LoadModelRequest",
    "ResizedTensor",
    "Table",
]

Precision = Literal["fp32", "fp16", "bf16", "int8"]


def _session() -> Segplug:
    from segplug.api import Segplug

    return Segplug()


@dataclass(frozen=True)
class LoadModelRequest:
    """Ask a source for a model."""

    config: str
    """Path of the config, as the user gave it."""
    checkpoint: str | None = None
    """Path of the weights; ``None``: as the source initialises them."""
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key to value. A string value is parsed as the source parses its own command line."""
    device: str = "cpu"
    trust_checkpoint: bool = False
    """Allow the full unpickler, which can run code that the file holds."""
    for_training: bool = False
    """Build also what only training uses, such as auxiliary heads. ``forward`` stays the same."""
    structure_only: bool = False
    """Nobody will look at the values of the weights: without a checkpoint they need no initialisation."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)


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
class LoadDatasetRequest:
    """Ask a source for a data set."""

    location: str
    """A config or a folder, as the user gave it."""
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)


@dataclass(frozen=True)
class ExportRequest:
    """Ask for an artifact of a loaded model, or for one that packs what is there for a server.

    ``model`` or ``artifact`` is set, as the provider's ``takes`` says. One that takes artifacts packs: it
    traces nothing, ``output`` is the folder that it writes into, under a name of its own, and ``shape``,
    ``dynamic``, ``precision`` and ``sample`` are as they come.
    """

    output: Path
    model: SegmentationModel | None = None
    artifact: Path | None = None
    shape: tuple[int, int] | None = None
    """Network input (height, width) in pixels; ``None``: the model's nominal input size."""
    dynamic: bool = False
    """Let batch, height and width vary, within ``model.input_limits()``, which go into the meta."""
    precision: Precision = "fp32"
    force: bool = False
    """Replace ``output`` if it is there."""
    sample: npt.NDArray[np.float32] | None = None
    """A preprocessed input ``(1, 3, H, W)``, for exporters that look at values or lack a size."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)
    session: Segplug = field(default_factory=_session)
    """What the caller uses, for what packing asks of sources and backends: the same add-ons and reporter."""

    @property
    def loaded(self) -> SegmentationModel:
        """``model``, for an exporter that takes nothing else; raises :class:`UsageError` without one."""
        if self.model is None:
            raise UsageError("this exporter takes a loaded model, not an artifact")
        return self.model


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
class BuildEngineRequest:
    """Ask for an engine artifact, compiled from another artifact or from a loaded model."""

    output: Path
    artifact: Path | None = None
    model: SegmentationModel | None = None
    precision: Precision = "fp32"
    device: str | None = None
    """``cuda:0`` and the like; ``None``: as the target builds by default."""
    force: bool = False
    images: tuple[Path, ...] = ()
    """Real images, for builders that calibrate on them."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)
    session: Segplug = field(default_factory=_session)
    """What the caller uses, for what a build asks of sources and backends: the same add-ons and reporter."""


@dataclass(frozen=True)
class InferRequest:
    """Ask for an engine: open ``artifact``, wrap ``model``, or reach ``url``; ready to run batches."""

    artifact: Path | None = None
    model: SegmentationModel | None = None
    url: str | None = None
    """A server that runs the model, for a target whose ``takes`` is ``url``."""
    device: str = "cpu"
    """``cpu``, ``cuda``, ``cuda:1``, or another name that the target knows."""
    threads: int | None = None
    """Threads of one ``run``; ``None``: the library's own default."""
    want_logits: bool = False
    """Give logits even where the artifact gives labels, for a comparison. A target that cannot
    answers with its labels."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)


@dataclass(frozen=True)
class ConvertWeightsRequest:
    """Ask for weights under other names."""

    source: Path
    destination: Path
    force: bool = False
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)
    session: Segplug = field(default_factory=_session)
    """What the caller uses, for loading a model on the way: the same add-ons, the same reporter."""


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
class AnalyzeRequest:
    """Ask for a report about one or more files."""

    subjects: tuple[str, ...]
    """Configs, artifacts, logs: as the user gave them."""
    force: bool = False
    """Replace the files that options name, if they are there."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)
    session: Segplug = field(default_factory=_session)
    """What the caller uses, for all that the report asks of other hooks: the same add-ons, the same
    reporter."""


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
