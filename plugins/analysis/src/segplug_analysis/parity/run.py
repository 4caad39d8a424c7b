"""Make what the backends open, run the reference, then every trial, on one data set.

Files come first: what an exporter refuses is known before the reference has run for an hour.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.artifact import file_sha256
from segplug.engine import REFERENCE_BACKEND
from segplug.errors import DatasetError, PluginError, SegplugError, UsageError
from segplug.files import make_folder, write_bytes
from segplug.palette import choose_palette
from segplug.runtime.raw import RawSink
from segplug_analysis.parity.compare import Agreement, CompareSink, Worst
from segplug_analysis.parity.form import Form, form_for
from segplug_analysis.parity.headers import size_in_header, size_of_image
from segplug_analysis.parity.job import Job, Outcome, Picture, Reference, file_name
from segplug_analysis.parity.kept import circumstances, keep, recall
from segplug_analysis.parity.numbers import RunNumbers
from segplug_analysis.parity.paint import painted
from segplug_analysis.parity.work import RECORD, Workshop, key_of

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.progress import Progress
    from segplug.runtime.preprocess import Size
    from segplug_analysis.parity.plan import Trial

__all__ = ["find_form", "make_files", "run_reference", "run_trial"]


def find_form(job: Job) -> Form:
    """What to export for the data set, from the sizes of its images.

    Raises:
        DatasetError: an image cannot be read.
    """
    with job.session.reporter.progress("looking at the images' sizes", len(job.dataset)) as progress:
        return form_for(job.model.meta, _sizes(job.dataset, progress))


def _sizes(dataset: Dataset, progress: Progress) -> Iterator[Size]:
    in_headers = len(dataset) > 0 and size_in_header(dataset, 0) == size_of_image(dataset, 0)
    for index in range(len(dataset)):
        yield (size_in_header(dataset, index) if in_headers else None) or size_of_image(dataset, index)
        progress.advance()


def make_files(workshop: Workshop, trial: Trial) -> Outcome:
    """Make what the trial's backend opens, or say why not."""
    if not trial.route:
        refused = UsageError(f"{trial.backend} runs the loaded model itself, in fp32")
        return Outcome(trial, error=None if trial.precision == "fp32" else refused)
    try:
        return Outcome(trial, tuple(workshop.make(trial)))
    except Exception as error:
        return Outcome(trial, error=_as_reason(trial, error))


def _as_reason(trial: Trial, error: Exception) -> SegplugError:
    """Why a trial came to nothing. A defect of one plugin does not cost the report of the others."""
    if isinstance(error, SegplugError):
        return error
    defect = PluginError(f"{trial.backend} is broken: {type(error).__name__}: {error}")
    defect.__cause__ = error
    return defect


def run_reference(job: Job) -> Reference:
    """Run PyTorch and keep its label maps on disk; or use those of a finished run, to resume.

    Raises:
        SegplugError: as the run does; without a reference there is nothing to compare with.
    """
    key = key_of({"origin": job.origin, "dataset": job.dataset.info.fingerprint, "device": job.device})
    labels = job.folder / f"{job.name}-{REFERENCE_BACKEND}-labels-{key}.npz"
    record = _record(job, REFERENCE_BACKEND, {"origin": job.origin})

    def kept(data: Mapping[str, Any]) -> Reference | None:
        whole = _digest(labels) == data["labels"]
        return (
            Reference(RunNumbers.from_dict(data["numbers"]), labels, data["labels"], key) if whole else None
        )

    if job.goes_on and (before := recall(record, kept)) is not None:
        return before
    report = job.evaluate(job.model, REFERENCE_BACKEND, RawSink(labels, force=True))
    reference = Reference(RunNumbers.of(report), labels, _digest(labels), key)
    keep(record, {"numbers": reference.numbers.to_dict(), "labels": reference.digest})
    return reference


def _digest(labels: Path) -> str:
    """Of the label maps, not of the file: that holds the time at which it was written."""
    with zipfile.ZipFile(labels) as archive:
        return key_of({entry.filename: entry.CRC for entry in archive.infolist()})


def run_trial(job: Job, made: Outcome, reference: Reference) -> Outcome:
    """Run the backend on what was made for it, and compare it; or use a finished run, to resume.

    What goes wrong with this backend is its outcome; a damaged data set is everybody's.

    Raises:
        DatasetError: an image or mask cannot be read any more.
    """
    if made.error is not None:
        return made
    trial = made.trial
    file = made.made[-1].path if made.made else None
    what = {
        # Its record names the files with their digests, the versions, and the model that it is of.
        "file": job.origin if file is None else file_sha256(file.with_name(RECORD)),
        "reference": reference.digest,
        "images": job.images,
    }
    record = _record(job, trial.name, what)
    if job.goes_on and (before := recall(record, lambda data: _kept(made, data))) is not None:
        return before
    sink = CompareSink(reference.labels, keep=job.images)
    try:
        report = job.evaluate(file or job.model, trial.backend, sink)
    except DatasetError:
        raise
    except Exception as error:
        return replace(made, error=_as_reason(trial, error))
    pictures = _paint(job, trial, reference, sink)
    numbers = RunNumbers.of(report)
    keep(
        record,
        {
            "numbers": numbers.to_dict(),
            "agreement": sink.agreement.to_dict(),
            "worst": [[picture.worst.to_dict(), str(picture.path)] for picture in pictures],
        },
    )
    return replace(made, numbers=numbers, agreement=sink.agreement, pictures=pictures)


def _record(job: Job, name: str, what: Mapping[str, Any]) -> Path:
    """Where what a run found is kept."""
    around = {**circumstances(job.dataset), "device": job.device, "threads": job.threads}
    return job.folder / f"{job.name}-{file_name(name)}-run-{key_of({**around, **what})}.json"


def _kept(made: Outcome, data: Mapping[str, Any]) -> Outcome | None:
    pictures = tuple(Picture(Worst(**worst), Path(path)) for worst, path in data["worst"])
    if not all(picture.path.is_file() for picture in pictures):
        return None
    numbers, agreement = RunNumbers.from_dict(data["numbers"]), Agreement(**data["agreement"])
    return replace(made, numbers=numbers, agreement=agreement, pictures=pictures)


def _paint(job: Job, trial: Trial, reference: Reference, sink: CompareSink) -> tuple[Picture, ...]:
    """A picture of each in a folder of the trial's own, in place of those of an earlier run."""
    folder = job.folder / f"{job.name}-differences-{file_name(trial.name)}-{reference.key}"
    if folder.is_dir():
        shutil.rmtree(folder)
    if not sink.worst:
        return ()
    make_folder(folder)
    info, meta = job.dataset.info, job.model.meta
    palette = choose_palette((info.palette, meta.palette), len(info.classes or meta.classes))
    pictures = []
    with np.load(reference.labels) as maps:
        for rank, item in enumerate(sink.worst, start=1):
            content = painted(
                job.dataset.read_image(item.index),
                maps[item.name],
                sink.labels(item),
                palette=palette,
                name=item.name,
                backend=trial.name,
            )
            path = folder / f"{rank:02d}-{file_name(Path(item.name).stem)}.jpg"
            write_bytes(path, content)
            pictures.append(Picture(item, path))
    return tuple(pictures)
