"""Make files: export, pack, build engines, convert weights. All are staged, then placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug import files
from segplug.api.early import check_making, least_weights, require_space, weights_of
from segplug.api.making import Product, all_inputs, check_shape, refuse_elsewhere
from segplug.api.sources import Sources
from segplug.api.subjects import existing, input_files, output_path, request_field
from segplug.errors import ArtifactError, PluginError, UsageError
from segplug.installed import Provider
from segplug.model import SegmentationModel
from segplug.registry.formats import attached_files, backend_of_input, older_parts, require_device
from segplug.registry.loading import entry_label
from segplug.requests import BuildEngineRequest, ConvertWeightsRequest, ExportRequest, PackRequest
from segplug.results import Artifact, ConversionReport, Precision
from segplug.session import PathLike, Subject, Target
from segplug.staging import Stage, stage_file, stage_folder

if TYPE_CHECKING:
    from segplug.comparison import Thresholds

__all__ = ["Makers"]


class Makers(Sources):
    """The part of :class:`segplug.Segplug` that makes files."""

    def export(
        self,
        target: Target,
        model: SegmentationModel,
        *,
        output: PathLike,
        shape: tuple[int, int] | None = None,
        dynamic: bool = False,
        precision: Precision | None = None,
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
            precision: The arithmetic of the artifact; default: the first that the exporter has.
            force: Replace ``output`` if it exists.
            images: Real images to verify on; the exporter is given the first.
            verify: Compare the artifact with the model (:meth:`verify`) and write the outcome into
                its metadata, ``artifact.meta.verification``. An artifact that fails stays, marked.
                Add-ons see the artifact after this.
            thresholds: Thresholds to use instead of those of its precision; the metadata says so.
            **options: The target's own options (``segplug plugins show TARGET``).
        """
        from segplug.verification.run import tracing_input

        provider = self.registry.resolve("export", target)
        if provider.packs:
            raise UsageError(f"export {provider.entry.target} packs for a server", hint="use Segplug.pack")
        check_shape(shape)
        plan = check_making(
            self.registry,
            provider,
            output=output,
            inputs=input_files(model),
            precision=precision,
            images=images,
            verify=verify,
            force=force,
            options=options,
            weights=weights_of(model),
        )
        destination, images = plan.destination, plan.images
        inputs = all_inputs(self.registry, model, images)
        with stage_file(destination, force=force, inputs=inputs) as stage:
            request: ExportRequest[Any] = ExportRequest(
                model=model,
                output=stage.output,
                destination=destination,
                shape=shape,
                dynamic=dynamic,
                precision=plan.precision,
                sample=tracing_input(images[0], model.meta, shape) if images else None,
                options=plan.options,
                **self._context(provider.entry),
            )
            return self._made(provider, request, stage, verify, images, thresholds)

    def build_engine(
        self,
        target: Target,
        what: Subject,
        *,
        output: PathLike,
        precision: Precision | None = None,
        device: str | None = None,
        force: bool = False,
        images: Sequence[PathLike] = (),
        verify: bool = False,
        thresholds: Thresholds | None = None,
        trust_artifact: bool = False,
        **options: Any,
    ) -> Artifact:
        """Compile an artifact or a model for one device.

        Args:
            target: The builder: ``tensorrt``.
            what: An artifact or its path, or (where the target takes them) a loaded model.
            output: The file to write; its metadata lies beside it.
            precision: The arithmetic of the engine; default: the first that the builder has.
            device: ``cuda:0`` and the like; default: the target's own.
            force: Replace ``output`` if it exists.
            images: Real images, to verify on, and for builders that calibrate on them.
            verify: Compare the engine with what it was built from (:meth:`verify`) and write the outcome into
                its metadata. It then runs here: a device that is not there is an error before the build. An
                engine that fails stays, marked. Add-ons see it after this.
            thresholds: Thresholds to use instead of those of its precision; the metadata says so.
            trust_artifact: Open the artifact even if it may run code; see :meth:`segplug.Segplug.open`.
            **options: The target's own options (``segplug plugins show TARGET``).
        """
        provider = self.registry.resolve("build_engine", target)
        subject = request_field(provider, what)
        if verify and not isinstance(what, SegmentationModel):
            require_device(backend_of_input(self.registry, provider.entry, subject["artifact"]), None)
        plan = check_making(
            self.registry,
            provider,
            output=output,
            inputs=all_inputs(self.registry, what),
            precision=precision,
            images=images,
            verify=verify,
            force=force,
            options=options,
            device=device,
        )
        destination, images = plan.destination, plan.images
        inputs = all_inputs(self.registry, what, images)
        with stage_file(destination, force=force, inputs=inputs) as stage:
            request: BuildEngineRequest[Any] = BuildEngineRequest(
                output=stage.output,
                destination=destination,
                **subject,
                precision=plan.precision,
                device=device,
                images=plan.images,
                trust_artifact=trust_artifact,
                options=plan.options,
                **self._context(provider.entry),
            )
            return self._made(provider, request, stage, verify, images, thresholds)

    def pack(
        self,
        target: Target,
        what: Subject,
        *,
        folder: PathLike,
        force: bool = False,
        trust_artifact: bool = False,
        **options: Any,
    ) -> Artifact:
        """Pack an artifact, or a config and its weights, for a server: an ``export`` that traces nothing.

        Args:
            target: The exporter: ``torchserve``, ``triton``.
            what: An artifact, its path, or (where the target takes them) what :meth:`load_model` returned.
            folder: The server's folder of models, which is made if it is not there.
            force: Replace a model of the same name in it.
            trust_artifact: Open the artifact even if it may run code; see :meth:`segplug.Segplug.open`.
            **options: The target's own options, the model's name among them.
        """
        provider = self.registry.resolve("export", target)
        if not provider.packs:
            raise UsageError(f"export {provider.entry.target} does not pack", hint="use Segplug.export")
        subject = request_field(provider, what)
        checked = provider.make_options(options)
        destination, levels = output_path(folder), provider.attribute("shared_levels")
        final = Path.cwd() / destination  # an add-on may change the working folder
        inputs = all_inputs(self.registry, what)
        if not isinstance(what, SegmentationModel):
            copied = sum(path.stat().st_size for path in inputs if path.is_file())
            require_space(destination, copied * 9 // 10)  # an archive is a little smaller
        with (
            files.making_folder(destination),
            stage_folder(destination, force=force, shared_levels=levels, inputs=inputs) as stage,
        ):
            request: PackRequest[Any] = PackRequest(
                output=stage.output,
                destination=destination,
                **subject,
                force=force,
                trust_artifact=trust_artifact,
                options=checked,
                **self._context(provider.entry),
            )
            product = Product(provider, stage)

            def finish(request: PackRequest[Any], artifact: Artifact) -> Artifact:
                refuse_elsewhere(provider, artifact.path, stage.output)
                product.shared = stage.shared_names()
                return product.describe(artifact, request)

            artifact = product.agreed(self.registry.call(provider, request, finish))
            with self.reporter.progress("writing to disk", None):
                stage.commit(older=attached_files(final / artifact.path.name))
            return replace(artifact, path=destination / artifact.path.name)

    def convert_weights(
        self,
        target: Target,
        checkpoint: PathLike,
        destination: PathLike,
        *,
        force: bool = False,
        **options: Any,
    ) -> ConversionReport:
        """Convert weights to another framework's names, or to another form.

        Args:
            target: The converter: ``swin``, ``publish``.
            checkpoint: The file to read.
            destination: The file to write. A converter may add to its name; the report says it.
            force: Replace ``destination`` if it exists.
            **options: The target's own options (``segplug plugins show TARGET``).
        """
        provider = self.registry.resolve("convert_weights", target)
        final = output_path(destination)
        files.refuse_input(final, [checkpoint])
        existing(Path(checkpoint))
        checked = provider.make_options(options)
        if provider.method("writes")(checked):
            require_space(final, least_weights(checkpoint))
        may_exist = provider.attribute("renames") or not provider.method("writes")(checked)
        folder = Path.cwd() / final.parent  # an add-on may change the working folder
        with stage_file(final, force=force, inputs=[Path(checkpoint)], may_exist=may_exist) as stage:
            request: ConvertWeightsRequest[Any] = ConvertWeightsRequest(
                checkpoint=Path(checkpoint),
                output=stage.output,
                destination=final,
                options=checked,
                **self._context(provider.entry),
            )
            report: ConversionReport = self._call_hook(provider, request)
            if report.destination is None:
                return report
            refuse_elsewhere(provider, report.destination, stage.output.parent)
            name = report.destination.name
            stage.commit(older=attached_files(folder / name), main=name)
            return replace(report, destination=final.parent / name)

    def _warn_of(self, request: ExportRequest[Any] | BuildEngineRequest[Any], artifact: Artifact) -> None:
        """Warn of an export whose scores differ from the model's own though its network is the same, and of
        weights that nobody has checked: of a model that was not loaded here.
        """
        from segplug.runtime.fixed_size import fixed_size_warning

        if request.model is not None and request.model.load_arguments is None:
            self._check_weights(request.model, "the model's weights", allow_nonfinite=True)
        meta = artifact.meta
        if not isinstance(request, ExportRequest) or meta.input_size is None:
            return
        if not request.dynamic:
            warning = fixed_size_warning(request.model.meta, meta.input_size)
        elif meta.input_limits is not None and meta.input_limits.is_fixed:
            cure = "the network takes no other size"
            warning = fixed_size_warning(request.model.meta, meta.input_size, cure=cure)
        else:
            return
        if warning is not None:
            self.reporter.warn(warning)

    def _made(
        self,
        provider: Provider,
        request: ExportRequest[Any] | BuildEngineRequest[Any],
        stage: Stage,
        verify: bool,
        images: Sequence[PathLike],
        thresholds: Thresholds | None,
    ) -> Artifact:
        """Call a maker, verify what it made if asked, and place it when no add-on has refused."""
        product = Product(provider, stage)
        write_meta = provider.method("write_meta")

        def finish(request: ExportRequest[Any] | BuildEngineRequest[Any], artifact: Artifact) -> Artifact:
            if artifact.path != stage.output:
                raise PluginError(
                    f"{entry_label(provider.entry)} returned an artifact at {artifact.path}, "
                    "not at request.output"
                )
            if not artifact.path.exists():
                raise ArtifactError(f"nothing was written for {request.destination}")
            product.check_meta(artifact)
            self._warn_of(request, artifact)
            if verify:
                from segplug.verification.run import verified

                artifact = verified(request.session, provider, artifact, request, images, thresholds)
            elif artifact.meta.verification is not None:  # that of what it was made from
                artifact = replace(artifact, meta=artifact.meta.replace(verification=None))
                write_meta(artifact.path, artifact.meta)
            return product.describe(artifact, request)

        final = Path.cwd() / request.destination  # an add-on may change the working folder
        artifact = product.agreed(self.registry.call(provider, request, finish))
        if verify and artifact.meta.verification is None:
            self.reporter.warn(
                "an add-on changed the artifact after it was verified: it does not count as verified"
            )
        with self.reporter.progress("writing to disk", None):
            stage.commit(older=older_parts(self.registry, provider.entry, final))
        return replace(artifact, path=request.destination)
