"""One frozen request for each hook, with the fields that every target of the hook understands.

Options of one target only are in ``options``: an instance of the dataclass that the provider declared.
New fields come with defaults, so that a hook can grow without breaking an installed plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import UsageError
from segplug.progress import QuietReporter, Reporter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.model import SegmentationModel
    from segplug.results import Precision
    from segplug.session import Session

__all__ = [
    "AnalyzeRequest",
    "BuildEngineRequest",
    "ConvertWeightsRequest",
    "ExportRequest",
    "InferRequest",
    "LoadDatasetRequest",
    "LoadModelRequest",
]


@dataclass(frozen=True)
class LoadModelRequest:
    """Ask a source for a model."""

    config: str
    """Path of the config, as the user gave it."""
    checkpoint: str | None = None
    """Path of the weights; ``None``: random weights, as the source initialises them."""
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key to value. A string value is parsed as the source parses its own command line."""
    device: str = "cpu"
    trust_checkpoint: bool = False
    """Allow the full unpickler, which can run code that the file holds."""
    for_training: bool = False
    """Build also what only training uses, such as auxiliary heads. ``forward`` stays the same."""
    structure_only: bool = False
    """The values of the weights do not matter: without a checkpoint they need no initialisation."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)


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
    """Ask for an artifact of a loaded model, or for a model or artifact packed for a server.

    ``model`` or ``artifact`` is set, as the provider's ``takes`` says. For an exporter that packs, ``output``
    is the folder that it writes into, and ``shape``, ``dynamic``, ``precision`` and ``sample`` have their
    defaults.
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
    """Replace ``output`` if it exists."""
    sample: npt.NDArray[np.float32] | None = None
    """A preprocessed input ``(1, 3, H, W)``, for exporters that need values, or a size."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)
    session: Session = field(kw_only=True)
    """The caller's session: through it a provider calls other hooks, with the same add-ons and reporter."""

    @property
    def loaded(self) -> SegmentationModel:
        """``model``, for exporters that take models only; raises :class:`UsageError` if there is none."""
        if self.model is None:
            raise UsageError("this exporter takes a loaded model, not an artifact")
        return self.model


@dataclass(frozen=True)
class BuildEngineRequest:
    """Ask for an engine artifact, compiled from another artifact or from a loaded model."""

    output: Path
    artifact: Path | None = None
    model: SegmentationModel | None = None
    precision: Precision = "fp32"
    device: str | None = None
    """``cuda:0`` and the like; ``None``: the target's own default."""
    force: bool = False
    images: tuple[Path, ...] = ()
    """Real images, for builders that calibrate on them."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)
    session: Session = field(kw_only=True)
    """The caller's session: through it a provider calls other hooks, with the same add-ons and reporter."""


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
    """Give logits for a comparison, even if the artifact gives labels. A target that cannot do that gives
    labels."""
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
    session: Session = field(kw_only=True)
    """The caller's session: through it a provider calls other hooks, with the same add-ons and reporter."""


@dataclass(frozen=True)
class AnalyzeRequest:
    """Ask for a report about one or more files."""

    subjects: tuple[str, ...]
    """Configs, artifacts, logs: as the user gave them."""
    force: bool = False
    """Replace the files that options name, if they are there."""
    options: Any = None
    reporter: Reporter = field(default_factory=QuietReporter)
    session: Session = field(kw_only=True)
    """The caller's session: through it a provider calls other hooks, with the same add-ons and reporter."""
