"""The settings of a parity report: the model, the data set, and how they are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug_analysis.parity.names import file_name

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.installed import Provider
    from segplug.model import SegmentationModel
    from segplug.scores import RunReport
    from segplug.session import Session
    from segplug.sink import Sink

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """What is compared, and how it is run."""

    session: Session
    model: SegmentationModel
    identity: Mapping[str, Any]
    """Everything that decides what the model computes (JSON types)."""
    dataset: Dataset
    folder: Path
    """The work folder; it exists when files are made."""
    device: str | None
    """The device that the user named; ``None``: every provider's own."""
    threads: int | None
    resume: bool
    force: bool
    """Use nothing that is in the work folder already."""
    allow_nonfinite: bool
    """Go on if scores are NaN or infinite."""
    trust_artifact: bool
    """Open files that an earlier report made even if they may run code."""
    installed: Sequence[str]
    """All installed distributions with their versions."""
    images: int
    """How many of the images that differ most are painted, for each trial."""
    bands: tuple[int, ...] | None
    """The channels that are painted (:class:`segplug.runtime.view.Viewer`)."""

    @property
    def name(self) -> str:
        """The model's name, with which the names of files begin."""
        return file_name(self.model.meta.name)

    @property
    def reuses_runs(self) -> bool:
        """Whether the results of finished runs are used again."""
        return self.resume and not self.force

    def evaluate(
        self, what: Any, backend: Provider, device: str, *sinks: Sink, trust_artifact: bool = False
    ) -> RunReport:
        """Score on the data set, as ``segplug infer --no-tta`` does."""
        return self.session.evaluate(
            what,
            backend=backend,
            dataset=self.dataset,
            sinks=sinks,
            device=device,
            threads=self.threads,
            resume=self.resume,
            tta=False,
            allow_nonfinite=self.allow_nonfinite,
            trust_artifact=trust_artifact,
        )
