"""``analyze parity``: scores of a trained model on every backend, beside PyTorch's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.session import Session
    from segplug_analysis.parity.job import Outcome

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options:
    """Options of ``analyze parity``."""

    backend: tuple[str, ...] = option(
        (),
        help="Infer targets to compare with pytorch; default: all that are installed.",
        metavar="NAME",
    )
    precision: tuple[Literal["fp32", "fp16", "bf16", "int8"], ...] = option(
        ("fp32",), help="Of the files that are made. PyTorch, the reference, runs in fp32."
    )
    dataset: str | None = option(
        None,
        help="What to run on: data.test of a config, or a folder of images and masks; default: CONFIG.",
        metavar="CONFIG|FOLDER",
    )
    dataset_source: str | None = option(None, help="The source that reads the data set.", metavar="NAME")
    dataset_options: Mapping[str, Any] | None = option(None, help="Options of the data set's source.")
    cfg_options: Mapping[str, Any] | None = option(None, help="Override settings of the config.")
    source: str | None = option(None, help="The source that reads the config.", metavar="NAME")
    trust_checkpoint: bool = option(
        False, help="Load a checkpoint that holds more than plain data. It can run code."
    )
    work_dir: Path = option(
        Path("segplug-parity"),
        help="Folder of what is made: exported files, which are used again, label maps, pictures.",
        metavar="FOLDER",
    )
    device: str = option("cpu", help="cpu, cuda, cuda:1, ...")
    threads: int | None = option(None, help="Threads of one run; default: the library's own.", minimum=1)
    images: int = option(
        3, help="Paint this many of the images that differ most, for each backend.", minimum=0, maximum=100
    )
    resume: bool = option(
        False, help="Go on where an interrupted run stopped; what had finished is not run again."
    )


class Parity:
    """Scores a trained model on every backend, beside PyTorch: SUBJECTs are a config and its checkpoint.

    It exports what the backends open into a work folder, and uses again what lies there already;
    --force makes it anew. A backend or precision that does not work is a line of the report that says
    why; it is an error only if nothing could be compared.
    """

    api_version = 1
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest) -> AnalyzeReport:
        """Compare the backends; see :func:`segplug.hookspecs.analyze`."""
        # As `segplug run infer` has it, for the same scores per second: threads that wait do not spin.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from segplug.files import make_folder
        from segplug_analysis.parity.job import Job
        from segplug_analysis.parity.origin import origin_of
        from segplug_analysis.parity.plan import choose
        from segplug_analysis.parity.recorder import recorded
        from segplug_analysis.parity.report import make_report
        from segplug_analysis.parity.run import find_form, make_files, run_reference, run_trial
        from segplug_analysis.parity.work import Workshop

        options: Options = request.options or Options()
        session, warnings = recorded(request.session)
        config, checkpoint = _config_and_checkpoint(request)
        plan = choose(options.backend, options.precision, options.device, session.registry)
        dataset = _dataset(session, config, options)
        _refuse_folder(options.work_dir, dataset)
        model = session.load_model(
            config,
            checkpoint=checkpoint,
            cfg_options=options.cfg_options,
            source=options.source,
            device=options.device,
            trust_checkpoint=options.trust_checkpoint,
        )
        job = Job(
            session=session,
            model=model,
            origin=origin_of(session, model, config, cfg_options=options.cfg_options, source=options.source),
            dataset=dataset,
            folder=options.work_dir,
            device=options.device,
            threads=options.threads,
            resume=options.resume,
            force=request.force,
            images=options.images,
        )
        form = find_form(job)
        make_folder(job.folder)
        workshop = Workshop(job.folder, session, model, job.origin, form, job.device, job.force)
        made = [make_files(workshop, trial) for trial in plan.trials]
        _refuse_nothing(made)
        reference = run_reference(job)
        outcomes = [run_trial(job, outcome, reference) for outcome in made]
        _refuse_nothing(outcomes)
        return make_report(job, form, reference, outcomes, plan, warnings)


def _refuse_nothing(outcomes: Sequence[Outcome]) -> None:
    """An error where all trials failed, of the first one's kind and with everyone's reason."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) == len(outcomes):
        reasons = "; ".join(f"{outcome.trial.name}: {outcome.error}" for outcome in outcomes)
        raise type(errors[0])(f"nothing could be compared: {reasons}") from errors[0]


def _config_and_checkpoint(request: AnalyzeRequest) -> tuple[str, str]:
    if len(request.subjects) != 2:
        raise UsageError(
            f"analyze parity takes a config and its checkpoint, not {len(request.subjects)} files",
            hint="segplug run analyze parity CONFIG CHECKPOINT --dataset FOLDER",
        )
    for subject in request.subjects:
        if not Path(subject).expanduser().is_file():
            raise UsageError(f"there is no file {subject}")
    config, checkpoint = request.subjects
    return config, checkpoint


def _dataset(session: Session, config: str, options: Options) -> Dataset:
    location = options.dataset or config
    dataset = session.load_dataset(
        location,
        cfg_options=options.cfg_options,
        source=options.dataset_source,
        **(options.dataset_options or {}),
    )
    if not dataset.info.has_masks:
        raise UsageError(f"the data set {location} has no masks, so there is nothing to score against")
    return dataset


def _refuse_folder(folder: Path, dataset: Dataset) -> None:
    from segplug.runtime.dataset_files import refuse_searched_folder

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder with --work-dir")
    refuse_searched_folder(folder, dataset)


provider = Parity()
