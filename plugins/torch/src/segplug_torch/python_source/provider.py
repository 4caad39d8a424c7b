"""``load_model python``: a plain PyTorch module, which a function or class of your own code returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_torch.python_source.options import Options

if TYPE_CHECKING:
    from segplug.model import SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]

_SCHEME = "python:"


class PythonModels(ModelSource[Options]):
    """Loads a plain torch.nn.Module, which a function or class of your own code returns.

    The location is python:package.module:factory or python:path/to/file.py:factory; modules are looked for in
    the current folder, too. --cfg-options are keyword arguments of the factory. The network maps normalised
    float32 images (N, channels, H, W) to float32 scores (N, classes, h, w): h and w are H and W, or those
    divided by one whole number; --output-key says which of several outputs that is. The code of the module is
    run. After such a location each option is a flag (--mean 0 0 0); --source-options mean=0 says the same.
    """

    hook_version = 2
    options = Options

    def accepts(self, location: str) -> Confidence:
        """Sure of what begins with ``python:``, and of nothing else."""
        return Confidence.SURE if location.startswith(_SCHEME) else Confidence.NO

    @hookimpl
    def load_model(self, request: LoadModelRequest[Options]) -> SegmentationModel:
        """Call the factory, revert synchronised norms, load the checkpoint strictly, check the network."""
        from segplug_torch.python_source.factory import call_factory, find_factory
        from segplug_torch.undescribed.metadata import Known, input_files, make_meta, nominal_size

        options = request.options
        size = nominal_size(options)
        factory = find_factory(request.config)
        from segplug.checkpoint import read_checkpoint
        from segplug.model import SegmentationModel
        from segplug_torch.devices import resolve_device
        from segplug_torch.exportable import make_exportable
        from segplug_torch.limits import find_input_limits
        from segplug_torch.norms import revert_sync_batchnorm
        from segplug_torch.undescribed.outputs import select_output
        from segplug_torch.undescribed.scores import find_scores
        from segplug_torch.weights import load_weights

        device = resolve_device(request.device)
        network = revert_sync_batchnorm(call_factory(factory, request.cfg_options))
        if request.checkpoint is not None:
            load_weights(network, read_checkpoint(request.checkpoint, trust=request.trust_checkpoint))
        elif not request.structure_only:
            request.reporter.warn("no checkpoint is given: the weights are as the factory makes them")
        network = select_output(network, options.output_key).to(device).eval().requires_grad_(False)
        scores = find_scores(network, options.in_channels, size, options.scores)
        known = Known(
            name=factory.name,
            in_channels=options.in_channels,
            scores=options.scores,
            config_file=factory.file,
            checkpoint=request.checkpoint,
            extra=_extra(request),
        )
        meta = make_meta(request, known, scores)
        return SegmentationModel(
            module=network,
            meta=meta,
            exportable=lambda: make_exportable(network, probabilities=meta.scores == "probabilities"),
            device=str(device),
            input_limits=lambda: find_input_limits(network, meta),
            files=input_files(options, factory.file),
        )


def _extra(request: LoadModelRequest[Options]) -> dict[str, Any]:
    """The factory's arguments: the hash of its file alone does not say what was built."""
    if not request.cfg_options:
        return {}
    return {"python": {"cfg_options": {name: str(value) for name, value in request.cfg_options.items()}}}


provider = PythonModels()
