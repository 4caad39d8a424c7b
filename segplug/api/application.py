"""The Python API: what ``segplug run`` does, without the shell.

::

    sp = Segplug()
    model = sp.load_model("config.py", checkpoint="weights.pth")
    artifact = sp.export("onnx", model, output="model.onnx", shape=(512, 1024), dynamic=True)
    comparison = sp.verify(artifact, model)
    report = sp.evaluate(artifact, backend="onnxruntime", dataset="config.py")
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug import files
from segplug.api.sources import Sources
from segplug.api.subjects import identity, input_files, request_field, run_settings
from segplug.errors import UsageError
from segplug.installed import Entry, Provider
from segplug.model import SegmentationModel
from segplug.registry.discovery import entries
from segplug.registry.formats import backend_of_artifact, require_device, verification_backend
from segplug.registry.registry import hook_name
from segplug.requests import (
    AnalyzeRequest,
    BuildEngineRequest,
    ConvertWeightsRequest,
    ExportRequest,
    InferRequest,
)
from segplug.results import AnalyzeReport, Artifact, ConversionReport, Precision
from segplug.session import OnError, PathLike, Subject

if TYPE_CHECKING:
    from segplug.comparison import Comparison, Thresholds
    from segplug.dataset import Dataset
    from segplug.engine import Engine
    from segplug.progress import Reporter
    from segplug.scores import RunReport
    from segplug.sink import Sink

__all__ = ["Segplug"]


class Segplug(Sources):
    """Everything segplug does.

    Args:
        reporter: Where notes, warnings and progress go. Default: nowhere.
        without_addons: Add-ons to leave out, by name.

    Every method may raise :class:`segplug.errors.SegplugError`.
    """

    def with_reporter(self, reporter: Reporter) -> Segplug:
        """The same application, with the same plugins loaded, reporting to ``reporter``."""
        reporting = copy.copy(self)
        reporting.reporter = reporter
        return reporting

    def targets(self, hook: str) -> tuple[Entry, ...]:
        """The installed targets of a hook, from metadata alone."""
        return entries(hook_name(hook))

    def export(
        self,
        target: str | Provider,
        model: SegmentationModel,
        *,
        output: PathLike,
        shape: tuple[int, int] | None = None,
        dynamic: bool = False,
        precision: Precision = "fp32",
        force: bool = False,
        images: Sequence[PathLike] = (),
        verify: bool = False,
        thresholds: Thresholds | None = None,
        **options: Any,
    ) -> Artifact:
        """Write ``model`` as an artifact.

        Args:
            target: The exporter: ``onnx``.
            model: What :meth:`load_model` returned.
            output: The file to write.
            shape: Network input (height, width); default: the model's nominal size.
            dynamic: Let batch, height and width vary.
            precision: The arithmetic of the artifact.
            force: Replace ``output`` if it exists.
            images: Real images to verify on; the exporter is given the first.
            verify: Compare the artifact with the model (:meth:`verify`) and write the outcome into
                its metadata, ``artifact.meta.verification``. An artifact that fails stays, marked.
                Add-ons see the artifact after this.
            thresholds: Thresholds to use instead of those of its precision.
            **options: The target's own options (``segplug plugins show TARGET``).
        """
        from segplug.verification.run import VerificationWrapper, tracing_input

        provider = self.registry.resolve("export", target)
        if provider.packs:
            raise UsageError(f"export {provider.entry.target} packs for a server", hint="use Segplug.pack")
        checked = provider.make_options(options)
        files.refuse_input(Path(output), [*input_files(model), *images])
        files.ensure_free(Path(output), force=force)
        request = ExportRequest(
            model=model,
            output=Path(output),
            shape=shape,
            dynamic=dynamic,
            precision=precision,
            force=force,
            sample=tracing_input(Path(images[0]), model.meta, shape) if images else None,
            options=checked,
            reporter=self.reporter,
            session=self,
        )
        inner = VerificationWrapper(self, provider, tuple(images), thresholds) if verify else None
        artifact: Artifact = self.registry.call(provider, request, inner=inner)
        return artifact

    def pack(
        self,
        target: str | Provider,
        what: Subject,
        *,
        folder: PathLike,
        force: bool = False,
        **options: Any,
    ) -> Artifact:
        """Pack an artifact, or a config and its weights, for a server: an ``export`` that traces nothing.

        Args:
            target: The exporter: ``torchserve``, ``triton``.
            what: An artifact, its path, or (where the target takes them) what :meth:`load_model` returned.
            folder: The server's folder of models, which is made if it is not there.
            force: Replace a model of the same name in it.
            **options: The target's own options, the model's name among them.
        """
        provider = self.registry.resolve("export", target)
        if not provider.packs:
            raise UsageError(f"export {provider.entry.target} does not pack", hint="use Segplug.export")
        subject = request_field(provider, what)
        checked = provider.make_options(options)
        with files.making_folder(Path(folder)):
            request = ExportRequest(
                output=Path(folder),
                **subject,
                force=force,
                options=checked,
                reporter=self.reporter,
                session=self,
            )
            artifact: Artifact = self.registry.call(provider, request)
        return artifact

    def build_engine(
        self,
        target: str | Provider,
        what: Subject,
        *,
        output: PathLike,
        precision: Precision = "fp32",
        device: str | None = None,
        force: bool = False,
        images: Sequence[PathLike] = (),
        verify: bool = False,
        thresholds: Thresholds | None = None,
        **options: Any,
    ) -> Artifact:
        """Compile an artifact or a model for one device.

        Args:
            target: The builder: ``tensorrt``.
            what: An artifact or its path, or (where the target takes them) a loaded model.
            output: The file to write; its metadata lies beside it.
            precision: The arithmetic of the engine.
            device: ``cuda:0`` and the like; default: the target's own.
            force: Replace ``output`` if it exists.
            images: Real images, to verify on, and for builders that calibrate on them.
            verify: Compare the engine with what it was built from (:meth:`verify`) and write the outcome into
                its metadata. It then runs here: a device that is not there is an error before the build. An
                engine that fails stays, marked. Add-ons see it after this.
            thresholds: Thresholds to use instead of those of its precision.
            **options: The target's own options (``segplug plugins show TARGET``).
        """
        from segplug.verification.run import VerificationWrapper

        provider = self.registry.resolve("build_engine", target)
        subject = request_field(provider, what)
        files.refuse_input(Path(output), [*input_files(what), *images])
        files.ensure_free(Path(output), force=force)
        request = BuildEngineRequest(
            output=Path(output),
            **subject,
            precision=precision,
            device=device,
            force=force,
            images=tuple(Path(image) for image in images),
            options=provider.make_options(options),
            reporter=self.reporter,
            session=self,
        )
        inner = None
        if verify:
            require_device(verification_backend(self.registry, provider), device)
            inner = VerificationWrapper(self, provider, tuple(images), thresholds)
        artifact: Artifact = self.registry.call(provider, request, inner=inner)
        return artifact

    @contextmanager
    def open(
        self,
        what: Subject,
        *,
        backend: str | Provider,
        device: str | None = None,
        threads: int | None = None,
        want_logits: bool = False,
        **options: Any,
    ) -> Iterator[Engine]:
        """Open an artifact (or wrap a model) with an ``infer`` target; closed with the context."""
        provider = self.registry.resolve("infer", backend)
        request = InferRequest(
            **request_field(provider, what),
            device=provider.device(device),
            threads=threads,
            want_logits=want_logits,
            options=provider.make_options(options),
            reporter=self.reporter,
        )
        engine: Engine = self.registry.call(provider, request)
        try:
            yield engine
        finally:
            engine.close()

    def evaluate(
        self,
        what: Subject,
        *,
        backend: str | Provider,
        dataset: Dataset | PathLike,
        metrics: Sequence[str] = ("mIoU",),
        sinks: Sequence[Sink] = (),
        device: str | None = None,
        threads: int | None = None,
        batch_size: int = 1,
        on_error: OnError = "stop",
        resume: bool = False,
        cfg_options: Mapping[str, Any] | None = None,
        nan_to_num: float | None = None,
        beta: float = 1.0,
        **options: Any,
    ) -> RunReport:
        """Run and score on a data set.

        Args:
            what: An artifact, its path, or a loaded model (with the ``pytorch`` backend).
            backend: The ``infer`` target.
            dataset: What :meth:`load_dataset` returned, or a location for it.
            metrics: Of ``mIoU``, ``mDice``, ``mFscore``; empty: run without scoring.
            sinks: Further sinks for the results: :mod:`segplug.runtime.sinks`, ``.raw``.
            device: ``cpu``, ``cuda``, ``cuda:1``, ...; default: the backend's own.
            threads: Threads of one engine run; default: the library's own.
            batch_size: Images of equal size that are run together.
            on_error: ``stop``, or ``skip`` unreadable images, counting and listing them.
            resume: Go on where an interrupted run of the same kind stopped.
            cfg_options: Overrides for a data set that is given as a config.
            nan_to_num: Replaces the score of a class that does not occur.
            beta: Weight of recall in the F-score.
            **options: The backend's own options.
        """
        from segplug.runtime.pipeline import run
        from segplug.runtime.sinks import ScoreSink

        if isinstance(dataset, (str, Path)):
            dataset = self.load_dataset(dataset, cfg_options=cfg_options)
        provider = self.registry.resolve("infer", backend)
        device = provider.device(device)
        scoring = [ScoreSink(metrics, nan_to_num=nan_to_num, beta=beta)] if metrics else []
        with self.open(what, backend=provider, device=device, threads=threads, **options) as engine:
            return run(
                engine,
                dataset,
                [*scoring, *sinks],
                batch_size=batch_size,
                on_error=on_error,
                resume=resume,
                run_key=" ".join(
                    [provider.entry.qualified, device, str(run_settings(options)), identity(what, engine)]
                ),
                reporter=self.reporter,
            )

    def verify(
        self,
        artifact: Artifact | PathLike,
        reference: Subject,
        *,
        images: Sequence[PathLike] = (),
        backend: str | Provider | None = None,
        reference_backend: str | Provider | None = None,
        device: str | None = None,
        precision: Precision = "fp32",
        thresholds: Thresholds | None = None,
        **options: Any,
    ) -> Comparison:
        """Compare an artifact with the model or the file it came from, on the same inputs. Changes no file.

        Args:
            artifact: What :meth:`export` or :meth:`build_engine` returned, or the path of such a file.
            reference: The model itself, run by PyTorch, or the artifact that an engine was built from.
            images: Image files; default: a made-up picture that comes with segplug.
            backend: The ``infer`` target that opens the artifact; default: its format's own. A path
                says no format, and needs it.
            reference_backend: The same of the reference, on its own device; a loaded model needs none.
            device: Where the artifact runs; default: the backend's own.
            precision: Chooses the thresholds (:data:`segplug.verification.compare.THRESHOLDS`).
            thresholds: Thresholds to use instead.
            **options: The backend's own options.

        Returns:
            The statistics and whether they keep to the thresholds; nothing is raised if not.
        """
        from segplug.verification.run import both_engines, compare_engines

        chosen = backend or backend_of_artifact(self.registry, artifact)
        with both_engines(self, reference, artifact, reference_backend, chosen, device=device, **options) as (
            expected,
            candidate,
        ):
            return compare_engines(
                expected,
                candidate,
                images,
                precision=precision,
                thresholds=thresholds,
                named="PyTorch" if isinstance(reference, SegmentationModel) else expected.spec.backend,
                reporter=self.reporter,
            )

    def convert_weights(
        self,
        target: str | Provider,
        source: PathLike,
        destination: PathLike,
        *,
        force: bool = False,
        **options: Any,
    ) -> ConversionReport:
        """Convert weights to another framework's names."""
        provider = self.registry.resolve("convert_weights", target)
        files.refuse_input(Path(destination), [source])
        if not Path(source).exists():
            raise UsageError(f"there is no file {source}")
        request = ConvertWeightsRequest(
            source=Path(source),
            destination=Path(destination),
            force=force,
            options=provider.make_options(options),
            reporter=self.reporter,
            session=self,
        )
        report: ConversionReport = self.registry.call(provider, request)
        return report

    def analyze(
        self, target: str | Provider, *subjects: PathLike, force: bool = False, **options: Any
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
        request = AnalyzeRequest(
            subjects=tuple(str(subject) for subject in subjects),
            force=force,
            options=provider.make_options(options),
            reporter=self.reporter,
            session=self,
        )
        report: AnalyzeReport = self.registry.call(provider, request)
        return report
