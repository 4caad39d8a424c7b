"""Make the files that the backends open, run the reference, then every trial, on one data set.

Files come first: an exporter that refuses the model is reported before the reference has run, which may
take an hour.
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
from segplug.files import making_folder, write_bytes
from segplug.regular_files import is_regular
from segplug.runtime.raw import RawSink
from segplug.runtime.view import Viewer
from segplug.sink import RunContext
from segplug_analysis.difference_picture import difference_picture
from segplug_analysis.parity.artifact_cache import RECORD, ArtifactCache
from segplug_analysis.parity.compare import Agreement, CompareSink, DifferingImage
from segplug_analysis.parity.form import Form, form_for
from segplug_analysis.parity.image_sizes import size_in_header, size_of_image
from segplug_analysis.parity.job import Job
from segplug_analysis.parity.names import file_name, short_hash
from segplug_analysis.parity.numbers import RunNumbers
from segplug_analysis.parity.outcomes import Outcome, Picture, Reference
from segplug_analysis.parity.saved_runs import cache_inputs, load, save

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.installed import Provider
    from segplug.preprocessing import Decoding
    from segplug.progress import Progress
    from segplug.runtime.sizes import Size
    from segplug_analysis.parity.plan import Trial

__all__ = ["find_form", "make_files", "run_reference", "run_trial"]


def find_form(job: Job) -> Form:
    """The form to export for the data set, from the sizes of its images.

    Raises:
        DatasetError: an image cannot be read.
    """
    with job.session.reporter.progress("reading image sizes", len(job.dataset)) as progress:
        return form_for(job.model.meta, _sizes(job.dataset, job.model.meta.decoding, progress))


def _sizes(dataset: Dataset, decoding: Decoding, progress: Progress) -> Iterator[Size]:
    def in_header(index: int) -> Size | None:
        return size_in_header(dataset, index, decoding)

    use_headers = len(dataset) > 0 and in_header(0) == size_of_image(dataset, 0, decoding)
    for index in range(len(dataset)):
        yield (in_header(index) if use_headers else None) or size_of_image(dataset, index, decoding)
        progress.advance()


def make_files(cache: ArtifactCache, trial: Trial) -> Outcome:
    """Make the files for the trial's backend. The outcome has the files, or the error."""
    if not trial.route:
        refused = UsageError(f"{trial.backend} runs the loaded model itself, in fp32")
        return Outcome(trial, error=None if trial.precision == "fp32" else refused)
    try:
        with cache.session.reporter.progress(f"making files for {trial.name}", None):
            return Outcome(trial, tuple(cache.files_for(trial)))
    except Exception as error:
        return Outcome(trial, error=_as_segplug_error(trial, error))


def _as_segplug_error(trial: Trial, error: Exception) -> SegplugError:
    """The error of one trial. A bug in one plugin must not stop the report on the others."""
    if isinstance(error, SegplugError):
        return error
    bug = PluginError(f"{trial.backend} is broken: {type(error).__name__}: {error}")
    bug.__cause__ = error
    return bug


def run_reference(job: Job, pytorch: Provider, device: str) -> Reference:
    """Run PyTorch on ``device`` and write its label maps; or use those of a finished run, to resume.

    Raises:
        SegplugError: the run failed: without a reference there is nothing to compare with.
    """
    key = short_hash({"identity": job.identity, "dataset": job.dataset.info.fingerprint, "device": device})
    labels = job.folder / f"{job.name}-{REFERENCE_BACKEND}-labels-{key}.npz"
    record = _record_path(job, REFERENCE_BACKEND, {"identity": job.identity, "device": device})

    def saved_reference(data: Mapping[str, Any]) -> Reference | None:
        if _digest(labels) != data["labels"]:
            return None
        return Reference(RunNumbers.from_dict(data["numbers"]), device, labels, data["labels"], key)

    if job.reuses_runs and (saved := load(record, saved_reference)) is not None:
        return saved
    with job.session.reporter.progress(f"running {REFERENCE_BACKEND}, the reference", None):
        report = job.evaluate(job.model, pytorch, device, RawSink(labels, force=True))
    reference = Reference(RunNumbers.of(report), device, labels, _digest(labels), key)
    save(record, {"numbers": reference.numbers.to_dict(), "labels": reference.digest})
    return reference


def _digest(labels: Path) -> str:
    """A hash of the label maps. A hash of the file would change with the time at which it was written."""
    with zipfile.ZipFile(labels) as archive:
        return short_hash({entry.filename: entry.CRC for entry in archive.infolist()})


def run_trial(job: Job, made: Outcome, reference: Reference) -> Outcome:
    """Run the backend on the file that was made for it, and compare; or use a finished run, to resume.

    An error of this backend becomes its outcome. A damaged data set stops the whole report.

    Raises:
        DatasetError: an image or mask cannot be read any more.
    """
    if made.error is not None:
        return made
    trial = made.trial
    file = made.files[-1].path if made.files else None
    inputs = {
        # The record beside a file has the hashes of its files, the versions, and the model's identity.
        "file": job.identity if file is None else file_sha256(file.with_name(RECORD)),
        "reference": reference.digest,
        "device": trial.device,
        "images": job.images,
        "bands": job.bands,
    }
    record = _record_path(job, trial.name, inputs)
    if job.reuses_runs and (saved := load(record, lambda data: _saved_outcome(made, data))) is not None:
        return saved
    sink = CompareSink(reference.labels, keep=job.images)
    try:
        trusted = job.trust_artifact or not (made.files and made.files[-1].reused)
        with job.session.reporter.progress(f"running {trial.name}", None):
            report = job.evaluate(
                file or job.model, trial.provider, trial.device, sink, trust_artifact=trusted
            )
    except DatasetError:
        raise
    except Exception as error:
        return replace(made, error=_as_segplug_error(trial, error))
    pictures = _paint(job, trial, reference, sink)
    numbers = RunNumbers.of(report)
    save(
        record,
        {
            "numbers": numbers.to_dict(),
            "agreement": sink.agreement.to_dict(),
            "worst": [[picture.image.to_dict(), str(picture.path)] for picture in pictures],
        },
    )
    return replace(made, numbers=numbers, agreement=sink.agreement, pictures=pictures)


def _record_path(job: Job, name: str, inputs: Mapping[str, Any]) -> Path:
    """The file for the results of a run. Its name has a hash of everything that they depend on."""
    shared = {**cache_inputs(job.dataset, job.installed), "threads": job.threads}
    return job.folder / f"{job.name}-{file_name(name)}-run-{short_hash({**shared, **inputs})}.json"


def _saved_outcome(made: Outcome, data: Mapping[str, Any]) -> Outcome | None:
    pictures = tuple(Picture(DifferingImage(**image), Path(path)) for image, path in data["worst"])
    if not all(is_regular(picture.path) for picture in pictures):
        return None
    numbers, agreement = RunNumbers.from_dict(data["numbers"]), Agreement(**data["agreement"])
    return replace(made, numbers=numbers, agreement=agreement, pictures=pictures)


def _paint(job: Job, trial: Trial, reference: Reference, sink: CompareSink) -> tuple[Picture, ...]:
    """Paint the images that differ most, into a folder of the trial, replacing those of an earlier run."""
    key = short_hash({"reference": reference.key, "device": trial.device})
    folder = job.folder / f"{job.name}-differences-{file_name(trial.name)}-{key}"
    if folder.is_dir():
        shutil.rmtree(folder)
    if not sink.worst:
        return ()
    meta = job.model.meta
    palette = RunContext(meta, job.dataset, job.session.reporter, spool=None).palette
    view = Viewer(meta.decoding, job.bands)
    pictures = []
    with making_folder(folder), np.load(reference.labels) as maps:
        for rank, image in enumerate(sink.worst, start=1):
            content = difference_picture(
                view(job.dataset.read_image(image.index, meta.decoding)),
                maps[image.name],
                sink.labels(image),
                palette=palette,
                name=image.name,
                backend=trial.name,
            )
            path = folder / f"{rank:02d}-{file_name(Path(image.name).stem)}.jpg"
            write_bytes(path, content)
            pictures.append(Picture(image, path))
    return tuple(pictures)
