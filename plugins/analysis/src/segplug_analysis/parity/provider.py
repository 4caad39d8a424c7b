"""``analyze parity``: scores of a trained model on every backend, beside PyTorch's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.limits import MOST_THREADS
from segplug.locations import has_scheme
from segplug.options import as_keywords, option
from segplug.providers import Report
from segplug.registry.hub import how_to_download
from segplug.regular_files import expanded, why_no_file
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport
from segplug.text import counted
from segplug_analysis.bands import BANDS_HELP, checked_bands
from segplug_analysis.model_options import WeightsOptions

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.session import Session
    from segplug_analysis.parity.outcomes import Outcome

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options(WeightsOptions):
    """Options of ``analyze parity``."""

    backend: tuple[str, ...] = option(
        (),
        help="The infer targets to compare with pytorch. Default: all that are installed.",
        metavar="NAME",
    )
    precision: tuple[Literal["fp32", "fp16", "bf16", "int8"], ...] = option(
        ("fp32",), help="Precision of the exported files and engines. PyTorch, the reference, runs in fp32."
    )
    dataset: str | None = option(
        None,
        help="What to run on: a folder of images and masks, or the test data of a config. Default: CONFIG.",
        metavar="CONFIG|FOLDER",
    )
    dataset_source: str | None = option(None, help="The source that reads the data set.", metavar="NAME")
    dataset_options: Mapping[str, Any] | None = option(None, help="Options of the data set's source.")
    work_dir: Path = option(
        Path("segplug-parity"),
        help="Folder for label maps, pictures and exported files; the latter are used again.",
        metavar="FOLDER",
    )
    device: str | None = option(None, help="cpu, cuda, cuda:1, ... Default: the backend's own.")
    threads: int | None = option(
        None, help="Threads of one run. Default: the library's own.", minimum=1, maximum=MOST_THREADS
    )
    images: int = option(
        3, help="For each backend, paint this many of the images that differ most.", minimum=0, maximum=100
    )
    bands: tuple[int, ...] = option((), help=BANDS_HELP, minimum=1, metavar="N")
    resume: bool = option(
        False, help="Continue an interrupted report; runs that had finished are not repeated."
    )


class Parity(Report[Options]):
    """Scores a trained model on every backend, beside PyTorch, with one data set for all.

    SUBJECTs are a config and its checkpoint, or a model's folder with its weights. The files that the
    backends open are exported into a work folder and used again; --force makes them again. A backend or
    precision that does not work is listed in the report with the reason; it is an error only if nothing could
    be compared.
    """

    hook_version = 2
    example = "CONFIG.py WEIGHTS.pth --dataset data"
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest[Options]) -> AnalyzeReport:
        """Compare the backends; see :func:`segplug.hookspecs.analyze`."""
        # As in `segplug infer`, for the same speed: threads that wait do not spin.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from segplug.files import making_folder
        from segplug_analysis.parity.artifact_cache import ArtifactCache
        from segplug_analysis.parity.identity import model_identity
        from segplug_analysis.parity.job import Job
        from segplug_analysis.parity.plan import choose
        from segplug_analysis.parity.report import make_report
        from segplug_analysis.parity.run import find_form, make_files, run_reference, run_trial
        from segplug_analysis.parity.saved_runs import installed_distributions
        from segplug_analysis.recorder import record_warnings

        options = request.options
        session, warnings = record_warnings(request.session)
        config, checkpoint = _config_and_checkpoint(request)
        plan = choose(options.backend, options.precision, options.device, session.registry)
        if options.device and options.device != plan.reference_device:
            session.reporter.warn(
                f"PyTorch, the reference, runs on {plan.reference_device}: it cannot use {options.device}"
            )
        dataset = _dataset(session, config, options)
        _check_work_dir(options.work_dir, dataset)
        model = session.load_model(
            config,
            checkpoint=checkpoint,
            device=plan.reference_device,
            trust_checkpoint=options.trust_checkpoint,
            allow_nonfinite=options.allow_nonfinite,
            **options.loading(session),
        )
        bands = checked_bands(options.bands, model.meta)
        job = Job(
            session=session,
            model=model,
            identity=model_identity(session, model, config, options),
            dataset=dataset,
            folder=options.work_dir,
            device=options.device,
            threads=options.threads,
            resume=options.resume,
            force=request.force,
            allow_nonfinite=options.allow_nonfinite,
            trust_artifact=options.trust_artifact,
            installed=installed_distributions(),
            images=options.images,
            bands=bands,
        )
        form = find_form(job)
        with making_folder(job.folder):
            cache = ArtifactCache(
                job.folder, session, model, job.identity, form, job.device, job.force, options.trust_artifact
            )
            made = [make_files(cache, trial) for trial in plan.trials]
            _require_one_success(made)
            reference = run_reference(job, plan.reference, plan.reference_device)
            outcomes = [run_trial(job, outcome, reference) for outcome in made]
            _require_one_success(outcomes)
            return make_report(job, form, reference, outcomes, plan, warnings)


def _require_one_success(outcomes: Sequence[Outcome]) -> None:
    """Raise an error if all trials failed: of the type of the first error, with all reasons."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) == len(outcomes):
        reasons = "; ".join(f"{outcome.trial.name}: {outcome.error}" for outcome in outcomes)
        raise type(errors[0])(f"nothing could be compared: {reasons}") from errors[0]


def _config_and_checkpoint(request: AnalyzeRequest[Options]) -> tuple[str, str | None]:
    """The model and its weights; ``None``: it is a folder, which may hold them."""
    config, *rest = request.subjects or ("",)
    folder = not has_scheme(config) and config != "" and expanded(config).is_dir()
    if len(rest) > 1 or not (rest or folder):
        raise UsageError(
            f"analyze parity takes a config and its checkpoint, not {counted(len(request.subjects), 'file')}",
            hint="segplug analyze parity CONFIG CHECKPOINT --dataset FOLDER",
        )
    for subject in rest if folder else request.subjects:
        if not has_scheme(subject) and (reason := why_no_file(expanded(subject))):
            raise UsageError(reason, hint=how_to_download(subject))
    return config, rest[0] if rest else None


def _dataset(session: Session, config: str, options: Options) -> Dataset:
    location = options.dataset or config
    dataset = session.load_dataset(
        location,
        cfg_options=options.cfg_options,
        source=options.dataset_source,
        **as_keywords(options.dataset_options, session.load_dataset, flag="--dataset-options"),
    )
    if not dataset.info.has_masks:
        raise UsageError(f"the data set {location} has no masks, so nothing can be scored")
    return dataset


def _check_work_dir(folder: Path, dataset: Dataset) -> None:
    from segplug.runtime.dataset_files import refuse_searched_folder

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder with --work-dir")
    refuse_searched_folder(folder, dataset)


provider = Parity()
