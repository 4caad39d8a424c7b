"""Make what the backends open, run the reference, then every trial, on one data set.

Files come first: what an exporter refuses is known before the reference has run for an hour.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.api import REFERENCE_BACKEND
from segplug.errors import DatasetError, SegplugError, UsageError
from segplug.runtime.files import make_folder, write_atomically
from segplug.runtime.paint import palette_of
from segplug.runtime.raw import RawSink
from segplug_analysis.parity.compare import Agreement, CompareSink, Worst
from segplug_analysis.parity.form import Form, form_for
from segplug_analysis.parity.paint import painted
from segplug_analysis.parity.work import Made, Workshop, key_of

if TYPE_CHECKING:
    from segplug.api import Segplug
    from segplug.dataset import Dataset
    from segplug.model import SegmentationModel
    from segplug.reporting import Progress
    from segplug.runtime.pipeline import RunReport
    from segplug.runtime.preprocess import Size
    from segplug.runtime.sinks import Sink
    from segplug_analysis.parity.plan import Trial

__all__ = [
    "Job",
    "Outcome",
    "Picture",
    "Reference",
    "find_form",
    "make_files",
    "run_reference",
    "run_trial",
]


@dataclass(frozen=True)
class Job:
    """What is compared, and with what."""

    session: Segplug
    model: SegmentationModel
    origin: Mapping[str, Any]
    """All that makes the model what it is (JSON types)."""
    dataset: Dataset
    folder: Path
    """The work folder; it is there when files are made."""
    device: str
    threads: int | None
    resume: bool
    images: int
    """How many of the images that differ most are painted, for each trial."""

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

    report: RunReport
    labels: Path
    """Its label maps."""
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
    report: RunReport | None = None
    agreement: Agreement | None = None
    """``None``, as ``report`` is: it could not be compared."""
    pictures: tuple[Picture, ...] = ()
    error: SegplugError | None = None
    """Why it could not be compared."""


def find_form(job: Job) -> Form:
    """What to export for the data set, from the sizes of its images.

    Raises:
        DatasetError: an image cannot be read.
    """
    with job.session.reporter.progress("looking at the images' sizes", len(job.dataset)) as progress:
        return form_for(job.model.meta, _sizes(job.dataset, progress))


def _sizes(dataset: Dataset, progress: Progress) -> Iterator[Size]:
    for index in range(len(dataset)):
        height, width = dataset.read_image(index).shape[:2]
        yield height, width
        progress.advance()


def make_files(job: Job, trial: Trial, form: Form) -> Outcome:
    """Make what the trial's backend opens, or say why not."""
    if not trial.route:
        refused = UsageError(f"{trial.backend} runs the loaded model itself, in fp32")
        return Outcome(trial, error=None if trial.precision == "fp32" else refused)
    workshop = Workshop(job.folder, job.session, job.model, job.origin, form, job.device)
    try:
        return Outcome(trial, tuple(workshop.make(trial)))
    except SegplugError as error:
        return Outcome(trial, error=error)


def run_reference(job: Job) -> Reference:
    """Run PyTorch and keep its label maps on disk.

    Raises:
        SegplugError: as the run does; without a reference there is nothing to compare with.
    """
    key = key_of({"origin": job.origin, "dataset": job.dataset.info.fingerprint, "device": job.device})
    labels = job.folder / f"{REFERENCE_BACKEND}-labels-{key}.npz"
    report = job.evaluate(job.model, REFERENCE_BACKEND, RawSink(labels, force=True))
    return Reference(report, labels, key)


def run_trial(job: Job, made: Outcome, reference: Reference) -> Outcome:
    """Run the backend on what was made for it, and compare it.

    What goes wrong with this backend is its outcome; a damaged data set is everybody's.

    Raises:
        DatasetError: an image or mask cannot be read any more.
    """
    if made.error is not None:
        return made
    trial = made.trial
    sink = CompareSink(reference.labels, keep=job.images)
    try:
        report = job.evaluate(made.made[-1].path if made.made else job.model, trial.backend, sink)
    except DatasetError:
        raise
    except SegplugError as error:
        return replace(made, error=error)
    pictures = _paint(job, trial, reference, sink.worst)
    return replace(made, report=report, agreement=sink.agreement, pictures=pictures)


def _paint(job: Job, trial: Trial, reference: Reference, worst: tuple[Worst, ...]) -> tuple[Picture, ...]:
    """A picture of each in a folder of the trial's own, in place of those of an earlier run."""
    folder = job.folder / f"differences-{_file_name(trial.name)}-{reference.key}"
    if folder.is_dir():
        shutil.rmtree(folder)
    if not worst:
        return ()
    make_folder(folder)
    info, meta = job.dataset.info, job.model.meta
    palette = palette_of((info.palette, meta.palette), len(info.classes or meta.classes))
    pictures = []
    with np.load(reference.labels) as maps:
        for rank, item in enumerate(worst, start=1):
            content = painted(
                job.dataset.read_image(item.index),
                maps[item.name],
                item.labels,
                palette=palette,
                name=item.name,
                backend=trial.name,
            )
            path = folder / f"{rank:02d}-{_file_name(Path(item.name).stem)}.png"
            write_atomically(path, content)
            pictures.append(Picture(item, path))
    return tuple(pictures)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)
