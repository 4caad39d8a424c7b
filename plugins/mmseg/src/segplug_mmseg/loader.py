"""``load_model mmseg``: an mmsegmentation config and checkpoint as a :class:`SegmentationModel`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta, SegmentationModel
from segplug.options import NoOptions
from segplug.providers import Confidence, ModelSource
from segplug_mmseg.explain import explained
from segplug_mmseg.generation import installed_generation
from segplug_mmseg.installed import installed_mmseg
from segplug_mmseg.recognise import MODEL, confidence

if TYPE_CHECKING:
    import torch

    from segplug.requests import LoadModelRequest
    from segplug.results import BackboneFit
    from segplug_mmseg.installed import Name

__all__ = ["provider"]


class MmsegModels(ModelSource[NoOptions]):
    """Loads a model from a config of mmsegmentation, 0.x or 1.x, and its checkpoint.

    Nothing is downloaded: without a checkpoint the weights are random. The test pipeline becomes the model's
    preprocessing, with mmseg's own numbers; a transform that cannot be expressed is an error, or is left out
    and listed where approximations are allowed.
    """

    hook_version = 2

    def accepts(self, location: str) -> Confidence:
        """Likely for a config with a ``model`` or a base; the file is parsed, and does not run."""
        return confidence(location, MODEL)

    def config_text(self, request: LoadModelRequest[NoOptions]) -> str:
        """The config with its bases and overrides, as Python that loads again."""
        from segplug_mmseg.config_text import as_python

        generation = installed_generation()
        settings = generation.read_settings(request.config, request.cfg_options, reporter=request.reporter)
        return as_python(settings, location=request.config)

    def upgraded_text(self, request: LoadModelRequest[NoOptions]) -> str:
        """A config of 0.x as one of 1.x, as Python; comments say what 1.x does otherwise."""
        from segplug_mmseg.config_text import as_python
        from segplug_mmseg.v1.upgrade import is_old, upgrade

        generation = installed_generation()
        settings = generation.read_settings(request.config, request.cfg_options, reporter=request.reporter)
        if not is_old(settings):
            raise UsageError(
                f"{request.config} is no config of mmsegmentation 0.x: there is nothing to upgrade",
                hint="segplug analyze config without --upgrade writes it as it is",
            )
        upgraded = upgrade(settings, request.config)
        comments = "".join(f"# {line}\n" for line in upgraded.comments)
        return comments + as_python(upgraded.settings, location=request.config)

    def fit_backbone(
        self,
        request: LoadModelRequest[NoOptions],
        state: Mapping[str, torch.Tensor],
        optional: Collection[str],
    ) -> BackboneFit:
        """Load weights strictly into the backbone, tables of positions resized as mmseg does.

        Args:
            request: Its ``config`` and ``cfg_options`` say what is built.
            state: Name to tensor, under the backbone's own names. Not modified, and not copied.
            optional: Names of ``state`` that the backbone may be built without.

        Returns:
            What was loaded; or, with nothing loaded, what does not fit.

        Raises:
            ModelError: the config cannot be read or built, or its model has no backbone.
            MissingDependencyError: a table of BEiT or MAE has another size, and SciPy is not installed.
        """
        from segplug_mmseg.backbone import Uninitialised, find_backbone, fit, settings_of

        generation = installed_generation()
        config = generation.read_config(request.config, request.cfg_options, reporter=request.reporter)
        settings = generation.runnable_model(config, request.config)
        with Uninitialised():
            segmentor = generation.build_segmentor(
                settings, request.config, request.reporter, initialise=False
            )
        backbone = find_backbone(segmentor, request.config)
        fitted = fit(backbone, state, optional)
        return replace(fitted, settings=settings_of(backbone, settings["backbone"]))

    @hookimpl
    def load_model(self, request: LoadModelRequest[NoOptions]) -> SegmentationModel:
        """Build the network, revert synchronised norms, load the checkpoint strictly."""
        with explained(ModelError, f"cannot load the model of {request.config}"):
            return self._load(request)

    def _load(self, request: LoadModelRequest[NoOptions]) -> SegmentationModel:
        # First of all: a config that is not there is an error before the libraries are imported.
        generation = installed_generation()
        config = generation.read_config(request.config, request.cfg_options, reporter=request.reporter)
        from segplug_torch.devices import resolve_device
        from segplug_torch.limits import find_input_limits
        from segplug_torch.norms import revert_sync_batchnorm

        from segplug.checkpoint import read_checkpoint
        from segplug_mmseg.checkpoint import load_segmentor
        from segplug_mmseg.compat import report_warnings
        from segplug_mmseg.meta import Head, make_meta
        from segplug_mmseg.network import TensorSegmentor
        from segplug_mmseg.random_bases import fix_random_bases
        from segplug_mmseg.text_tower import fold_text_encoder

        device = resolve_device(request.device)
        settings = generation.runnable_model(config, request.config, for_training=request.for_training)
        checkpoint = None
        if request.checkpoint is not None:
            checkpoint = read_checkpoint(request.checkpoint, trust=request.trust_checkpoint)
        elif not request.structure_only:
            request.reporter.warn("no checkpoint is given: the weights are random")
        initialise = checkpoint is None and not request.structure_only
        segmentor = generation.build_segmentor(
            settings, request.config, request.reporter, initialise=initialise
        )
        segmentor = revert_sync_batchnorm(segmentor)
        drawn = fix_random_bases(segmentor, checkpoint.state if checkpoint else ())
        if checkpoint is not None:
            load_segmentor(
                segmentor,
                checkpoint,
                reporter=request.reporter,
                config_generation=lambda: _config_generation(request),
            )
        if not request.structure_only:
            with report_warnings(request.reporter):
                fold_text_encoder(segmentor)
        module = TensorSegmentor(segmentor).to(device).eval().requires_grad_(False)
        head = Head.from_segmentor(segmentor)
        meta = make_meta(
            generation.read_facts(
                config,
                head=head,
                takes=module.takes,
                approximate=request.approximate,
                reporter=request.reporter,
            ),
            request.config,
            head=head,
            checkpoint=request.checkpoint,
            checkpoint_meta=checkpoint.meta if checkpoint else None,
            reporter=request.reporter,
        )
        extra: dict[str, Any] = {}
        if request.cfg_options:  # the config's hash alone does not say what was built
            extra["cfg_options"] = {key: str(value) for key, value in request.cfg_options.items()}
        if drawn:
            extra["fixed_bases"] = True
            request.reporter.note(
                "mmseg draws random bases in each pass of this head (NMF2D): they are fixed, so that the "
                "network and its files give one answer"
            )
        if extra:
            meta = meta.replace(extra={"mmseg": extra})
        return SegmentationModel(
            module=module,
            meta=meta,
            exportable=lambda: _exportable(module, meta),
            device=str(device),
            input_limits=lambda: find_input_limits(module, meta),
        )


def _config_generation(request: LoadModelRequest[NoOptions]) -> Name:
    """Of which generation the config is, as it was written."""
    from segplug_mmseg.v1.upgrade import is_old

    installed = installed_mmseg().generation
    if installed == "1.x" and is_old(
        installed_generation().read_settings(request.config, request.cfg_options)
    ):
        return "0.x"
    return installed


def _exportable(module: torch.nn.Module, meta: ModelMeta) -> torch.nn.Module:
    from segplug_mmseg.exportable import make_exportable

    exportable: torch.nn.Module = make_exportable(module, probabilities=meta.scores == "probabilities")
    return exportable


provider = MmsegModels()
