"""The results that a parity report shows, as data: files, the reference's run, and each trial's outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segplug_analysis.parity.compare import Agreement, DifferingImage
from segplug_analysis.parity.numbers import RunNumbers
from segplug_analysis.parity.plan import Trial

if TYPE_CHECKING:
    from segplug.errors import SegplugError

__all__ = ["CachedFile", "Outcome", "Picture", "Reference"]


@dataclass(frozen=True)
class CachedFile:
    """An exported file or an engine in the work folder."""

    path: Path
    format: str
    precision: str
    hook: str
    """The hook that made it: ``export`` or ``build_engine``."""
    reused: bool
    """Whether an earlier report made it."""
    seconds: float
    """How long it took to make, in this report or in the earlier one."""
    bytes: int
    """Its size, with all files that belong to it."""


@dataclass(frozen=True)
class Reference:
    """PyTorch's own run."""

    numbers: RunNumbers
    device: str
    """Where it ran."""
    labels: Path
    """The file with its label maps."""
    digest: str
    """A hash of the label maps."""
    key: str
    """A hash of the model, the data set and the device, for names of files."""


@dataclass(frozen=True)
class Picture:
    """An image on which labels differ, and the file that shows where."""

    image: DifferingImage
    path: Path


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial."""

    trial: Trial
    files: tuple[CachedFile, ...] = ()
    """What was made for the backend, in order: the backend opens the last."""
    numbers: RunNumbers | None = None
    """``None``: it could not be compared."""
    agreement: Agreement | None = None
    """``None``: it could not be compared."""
    pictures: tuple[Picture, ...] = ()
    error: SegplugError | None = None
    """Why it could not be compared."""
