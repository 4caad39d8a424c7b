"""What a parity report is about, and what became of it: the data that its parts hand on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.errors import SegplugError
    from segplug.model import SegmentationModel
    from segplug.scores import RunReport
    from segplug.session import Session
    from segplug.sink import Sink
    from segplug_analysis.parity.compare import Agreement, Worst
    from segplug_analysis.parity.numbers import RunNumbers
    from segplug_analysis.parity.plan import Trial
    from segplug_analysis.parity.work import Made

__all__ = ["Job", "Outcome", "Picture", "Reference", "file_name"]


@dataclass(frozen=True)
class Job:
    """What is compared, and with what."""

    session: Session
    model: SegmentationModel
    origin: Mapping[str, Any]
    """All that makes the model what it is (JSON types)."""
    dataset: Dataset
    folder: Path
    """The work folder; it is there when files are made."""
    device: str
    threads: int | None
    resume: bool
    force: bool
    """Use nothing that lies in the work folder."""
    images: int
    """How many of the images that differ most are painted, for each trial."""

    @property
    def name(self) -> str:
        """The model's, as names of files start with it."""
        return file_name(self.model.meta.name)

    @property
    def goes_on(self) -> bool:
        """Whether runs that finished are used again."""
        return self.resume and not self.force

    def evaluate(self, what: Any, backend: str, *sinks: Sink) -> RunReport:
        """Score on the data set, as ``segplug run infer`` does."""
        return self.session.evaluate(
            what,
            backend=backend,
            dataset=self.dataset,
            sinks=sinks,
            device=self.device,
            threads=self.threads,
            resume=self.resume,
        )


@dataclass(frozen=True)
class Reference:
    """PyTorch's own run."""

    numbers: RunNumbers
    labels: Path
    """Its label maps."""
    digest: str
    """Of the label maps: equal ones have equal ones."""
    key: str
    """Names the model and the data set."""


@dataclass(frozen=True)
class Picture:
    """An image that differs, and the file that shows it."""

    worst: Worst
    path: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    trial: Trial
    made: tuple[Made, ...] = ()
    numbers: RunNumbers | None = None
    agreement: Agreement | None = None
    """``None``, as ``numbers`` is: it could not be compared."""
    pictures: tuple[Picture, ...] = ()
    error: SegplugError | None = None
    """Why it could not be compared."""


def file_name(text: str) -> str:
    """A text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)
