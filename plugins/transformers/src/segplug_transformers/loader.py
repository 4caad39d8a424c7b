"""Load a folder that ``save_pretrained`` wrote as a :class:`segplug.model.SegmentationModel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from segplug_torch.devices import resolve_device
from segplug_torch.limits import find_input_limits
from segplug_torch.norms import revert_sync_batchnorm
from torch import nn

from segplug.model import ModelMeta, SegmentationModel
from segplug_transformers import networks, processor
from segplug_transformers.construct import model_config, refuse_unknown_keys, refuse_unknown_settings
from segplug_transformers.described import requested_processing
from segplug_transformers.folder import tokenizer_files, weight_files
from segplug_transformers.hub import card_of
from segplug_transformers.meta import class_names, make_meta
from segplug_transformers.overrides import PROCESSOR_PREFIX
from segplug_transformers.scores import find_scores
from segplug_transformers.weights import load_network

if TYPE_CHECKING:
    from segplug.requests import LoadModelRequest
    from segplug_transformers.architectures import Architecture
    from segplug_transformers.folder import Folder
    from segplug_transformers.options import Options

__all__ = ["load"]


def load(request: LoadModelRequest[Options], folder: Folder, architecture: Architecture) -> SegmentationModel:
    """Build the network, load its weights strictly, and read its processor.

    Args:
        request: Its options, device and reporter.
        folder: With the overrides of the request.
        architecture: The class of the model.

    Raises:
        ModelError: the config, the weights or the processor cannot be used as they are; the message says why.
        UsageError: an override or an option is wrong.
        DeviceError: the device is not there, or its memory is not enough.
    """
    device = resolve_device(request.device)
    refuse_unknown_settings(folder, request.cfg_options)
    processing = requested_processing(request, folder, architecture)
    config = model_config(folder, architecture)
    overrides = {
        key: value for key, value in request.cfg_options.items() if not key.startswith(PROCESSOR_PREFIX)
    }
    refuse_unknown_keys(config, overrides)
    classes = class_names(config, request.reporter)
    if folder.weights is None:  # only the structure is asked for
        network = networks.build(folder, architecture)
    else:
        network = load_network(
            folder, architecture, config, trust=request.trust_checkpoint, reporter=request.reporter
        )
    network = revert_sync_batchnorm(network)
    module = networks.wrap(network, folder, architecture)
    module = module.to(device).eval().requires_grad_(False)
    scores = find_scores(
        module,
        processor.channels_of(folder.config),
        size=processing.input_size,
        fixed=networks.output_size(architecture),
        patches=frozenset(_patches(config.to_dict())),
    )
    meta = make_meta(request, folder, architecture, processing, scores, classes)
    files = (
        *(folder.config_file, folder.processor_file, card_of(folder.path)),
        *weight_files(folder.weights),
    )
    if architecture.model_type == "oneformer":
        files = (*files, *tokenizer_files(folder.path))
    return SegmentationModel(
        module=module,
        meta=meta,
        exportable=lambda: _exportable(module, meta),
        device=str(device),
        input_limits=lambda: find_input_limits(module, meta),
        found_options={"processor": processing.backend} if request.options.processor == "auto" else {},
        files=tuple(file for file in files if file is not None),
    )


def _patches(config: Mapping[str, Any]) -> Iterator[int]:
    """The edges of the patches that a config, or the config of its backbone, cuts images into."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _patches(value)
        elif key == "patch_size":
            edges = value if isinstance(value, (list, tuple)) else (value,)
            yield from (edge for edge in edges if isinstance(edge, int) and edge > 0)


def _exportable(module: nn.Module, meta: ModelMeta) -> nn.Module:
    from segplug_transformers.exportable import make_exportable

    return make_exportable(module, probabilities=meta.scores == "probabilities")
