"""The Python API: what the command line does, without the shell.

::

    sp = Segplug()
    model = sp.load_model("config.py", checkpoint="weights.pth")
    artifact = sp.export("onnx", model, output="model.onnx", shape=(512, 1024), dynamic=True)
    comparison = sp.verify(artifact, model)
    report = sp.evaluate(artifact, dataset="config.py")
    result = sp.predict(artifact, "photo.jpg")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from segplug.api.early import check_run
from segplug.api.making import check_numbers, image_paths
from segplug.api.outputs import staged_outputs
from segplug.api.predict import Predictor
from segplug.api.subjects import existing, request_field
from segplug.dataset import Dataset
from segplug.errors import UsageError
from segplug.groups import EXECUTOR_HOOK, HOOKS, SOURCE_HOOKS, hook_name
from segplug.hookspecs import hookimpl
from segplug.installed import Entry, Provider
from segplug.model import ModelMeta, SegmentationModel
from segplug.notebook import facts_html
from segplug.options import NoOptions, require_number
from segplug.registry.discovery import addon_entries, all_entries, entries
from segplug.registry.formats import backend_of_artifact, read_meta
from segplug.requests import AnalyzeRequest, CommandRequest, RunRequest
from segplug.results import AnalyzeReport, Artifact, Precision
from segplug.session import OnError, PathLike, Subject, Target
from segplug.text import counted
from segplug.version import __version__

if TYPE_CHECKING:
    from segplug.comparison import Comparison, Thresholds
    from segplug.info import FileInfo
    from segplug.scores import RunReport
    from segplug.sink import Sink

__all__ = ["Segplug"]


class Segplug(Predictor):
    """Everything segplug does.

    Args:
        reporter: Where notes, warnings and progress go. Default: nowhere.
        without_addons: Add-ons to leave out, by name.
        addon_options: The options of add-ons: name to keyword to value.
        parent: The id of the call that the application works for, in a process that a call started.

    Every method may raise :class:`segplug.errors.SegplugError`.
    """

    def __repr__(self) -> str:
        addons = sorted(entry.target for entry in addon_entries())
        used = [name for name in addons if name not in self.registry.without_addons]
        return f"<Segplug {__version__}: {counted(len(all_entries()), 'target')}, add-ons: {_listed(used)}>"

    def _repr_html_(self) -> str:
        found = {hook: _listed([entry.name for entry in entries(hook)]) for hook in HOOKS}
        facts = tuple((hook, (names,)) for hook, names in found.items())
        return facts_html(f"segplug {__version__}", facts)

    def targets(self, hook: str) -> tuple[Entry, ...]:
        """The installed targets of a hook, from metadata alone."""
        return entries(hook if hook in (*SOURCE_HOOKS, EXECUTOR_HOOK) else hook_name(hook))

    def evaluate(
        self,
        what: Subject,
        *,
        backend: Target | None = None,
        dataset: Dataset | PathLike,
        metrics: Sequence[str] = ("mIoU",),
        sinks: Sequence[Sink] = (),
        device: str | None = None,
        threads: int | None = None,
        batch_size: int = 1,
        on_error: OnError = "stop",
        resume: bool = False,
        tta: bool | None = None,
        unknown_below: float | None = None,
        allow_nonfinite: bool = False,
        cfg_options: Mapping[str, Any] | None = None,
        nan_to_num: float | None = None,
        beta: float | None = None,
        executor: Target = "local",
        executor_options: Mapping[str, Any] | None = None,
        trust_artifact: bool = False,
        **options: Any,
    ) -> RunReport:
        """Run and score on a data set.

        Args:
            what: An artifact, its path, or a loaded model.
            backend: The ``infer`` target; ``None``: as for :meth:`open`.
            dataset: What :meth:`load_dataset` returned, or a location for it.
            metrics: Of ``mIoU``, ``mDice``, ``mFscore``; empty: run without scoring.
            sinks: Further sinks for the results: :mod:`segplug.runtime.sinks`, ``.raw``.
            device: ``cpu``, ``cuda``, ``cuda:1``, ...; default: the backend's own.
            threads: Threads of one engine run; default: the library's own.
            batch_size: Images of equal size that are run together.
            on_error: ``stop``, or ``skip`` unreadable images, counting and listing them.
            resume: Go on where an interrupted run of the same kind stopped.
            tta: Run the model's test-time augmentation; ``None``: if it is the model's default.
            unknown_below: Labels that are less probable than this, 0 to 1, become the data set's ignored
                label.
            allow_nonfinite: Go on if scores are NaN or infinite, which is an error otherwise: such pixels get
                the data set's ignored label, and the report lists the images.
            cfg_options: Overrides for a data set that is given as a config.
            nan_to_num: Replaces the score of a class that does not occur; ``None``: as the data set says.
            beta: Weight of recall in the F-score; ``None``: as the data set says, which is 1 unless its
                config has another one.
            executor: What runs the job: ``local``, in this process.
            executor_options: The executor's own options, keyword to value.
            trust_artifact: Open the artifact even if it may run code; see :meth:`open`.
            **options: The backend's own options.
        """
        from segplug.runtime.sinks import ScoreSink

        check_numbers(threads=threads, batch_size=batch_size)
        require_number("unknown_below", unknown_below, least=0, most=1)
        scoring = [ScoreSink(metrics, nan_to_num=nan_to_num, beta=beta)] if metrics else []
        provider = self._backend(what, backend)
        runner = self.registry.resolve(EXECUTOR_HOOK, executor)
        subject = request_field(provider, what)
        provider.make_options(options)
        run_options = runner.make_options(dict(executor_options or {}))
        if isinstance(dataset, (str, Path)):
            dataset = self.load_dataset(dataset, cfg_options=cfg_options)
        if not isinstance(dataset, Dataset):
            given = f"{type(dataset).__module__}.{type(dataset).__qualname__}"
            raise UsageError(
                f"dataset is of the type {given}, which is no data set of segplug",
                hint="give its location, or what load_dataset returned",
            )
        check_run(provider, runner, dataset, metrics=metrics, device=device)
        request: RunRequest[Any] = RunRequest(
            **subject,
            backend=provider.entry.qualified,
            backend_options=options,
            dataset=dataset,
            sinks=(*scoring, *sinks),
            device=provider.device(device),
            threads=threads,
            batch_size=batch_size,
            on_error=on_error,
            resume=resume,
            tta=tta,
            unknown_below=unknown_below,
            allow_nonfinite=allow_nonfinite,
            trust_artifact=trust_artifact,
            options=run_options,
            **self._context(runner.entry),
        )
        report: RunReport = self._call_hook(runner, request)
        return report

    def verify(
        self,
        artifact: Artifact | PathLike,
        reference: Subject,
        *,
        images: Sequence[PathLike] = (),
        backend: Target | None = None,
        reference_backend: Target | None = None,
        device: str | None = None,
        precision: Precision = "fp32",
        thresholds: Thresholds | None = None,
        trust_artifact: bool = False,
        trust_reference: bool = False,
        **options: Any,
    ) -> Comparison:
        """Compare an artifact with the model or the file it came from, on the same inputs. Changes no file.

        Args:
            artifact: What :meth:`export` or :meth:`build_engine` returned, or the path of such a file.
            reference: The model itself, run by PyTorch, or the artifact that an engine was built from.
            images: Image files; default: a made-up picture that comes with segplug.
            backend: The ``infer`` target that opens the artifact; default: its format's own. A path says its
                format by its suffix.
            reference_backend: The same of the reference, on its own device; a loaded model needs none.
            device: Where the artifact runs; default: the backend's own.
            precision: Chooses the thresholds (:data:`segplug.verification.compare.THRESHOLDS`).
            thresholds: Thresholds to use instead; the result says that they were set by hand.
            trust_artifact: Open the artifact even if it may run code; see :meth:`open`.
            trust_reference: The same of the reference.
            **options: The backend's own options.

        Returns:
            The statistics and whether they keep to the thresholds; nothing is raised if not.
        """
        from segplug.verification.run import both_engines, compare_engines

        images = image_paths(images)
        chosen = backend or backend_of_artifact(self.registry, artifact)
        session = self._for_verification()
        with both_engines(
            session,
            reference,
            artifact,
            reference_backend,
            chosen,
            device=device,
            trust_artifact=trust_artifact,
            trust_reference=trust_reference,
            **options,
        ) as (expected, candidate):
            return compare_engines(
                expected,
                candidate,
                images,
                precision=precision,
                thresholds=thresholds,
                named="PyTorch" if isinstance(reference, SegmentationModel) else expected.spec.backend,
                reporter=self.reporter,
            )

    def analyze(
        self, target: Target, *subjects: PathLike, force: bool = False, **options: Any
    ) -> AnalyzeReport:
        """Report on configs, artifacts or logs.

        :func:`segplug.reports.page.write_page` makes a page of the report and
        :func:`segplug.reports.sheets.write_sheets` CSV files.

        Args:
            target: The report: ``flops``, ``benchmark``, ...
            *subjects: The configs, artifacts or logs that it is about.
            force: Replace the files that options name, if they are there.
            **options: The target's own options (``segplug plugins show TARGET``).
        """
        provider = self.registry.resolve("analyze", target)
        inputs = tuple(str(subject) for subject in subjects)
        checked = provider.make_options(options)
        with staged_outputs(checked, provider.option_specs, inputs=inputs, force=force) as outputs:
            request: AnalyzeRequest[Any] = AnalyzeRequest(
                subjects=inputs,
                force=force,
                options=outputs.options,
                **self._context(provider.entry),
            )
            report: AnalyzeReport = self._call_hook(provider, request)
            outputs.commit()
        return outputs.named(report)

    def read_meta(self, path: PathLike) -> ModelMeta | None:
        """The metadata of an artifact of any format, by its path.

        Args:
            path: A file or a folder that an exporter, a packer or an engine builder made. Its suffix says
                which.

        Returns:
            ``None`` if it has none.

        Raises:
            UsageError: there is no such file.
            ArtifactError: the metadata is damaged.
        """
        return read_meta(self.registry, existing(Path(path)))

    def info(self, path: PathLike) -> FileInfo:
        """What a model file is, of segplug or of another tool. Nothing that it holds is run.

        Args:
            path: An artifact or a package (also its folder), a checkpoint, or a config.

        Raises:
            UsageError: there is no such file, or no installed plugin knows what it is.
            ArtifactError: it is damaged.
            CheckpointError: the checkpoint is damaged.
            MissingDependencyError: reading it needs a library that is not installed.
        """
        from segplug.api.inspection import inspect

        return inspect(self, path)

    def call_command(self, entry: Entry, parameters: Mapping[str, Any], run: Callable[[Segplug], int]) -> int:
        """Run a plugin's own command, with all add-ons around it.

        Args:
            entry: The command.
            parameters: Its parameters by name.
            run: Gets the session of the call, runs the command, and returns its exit code.
        """
        context = self._context(entry)
        provider = Provider(entry, _Command(lambda: run(cast(Segplug, context["session"]))), object)
        request: CommandRequest[NoOptions] = CommandRequest(
            parameters=parameters, options=NoOptions(), **context
        )
        code: int = self._call_hook(provider, request)
        return code


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


class _Command:
    """The innermost implementation of the hook ``command``."""

    def __init__(self, run: Callable[[], int]) -> None:
        self._run = run

    @hookimpl
    def command(self, request: CommandRequest[NoOptions]) -> int:
        return self._run()
