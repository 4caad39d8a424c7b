"""Load a folder of smp as a :class:`segplug.model.SegmentationModel`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segplug_torch.devices import resolve_device
from segplug_torch.limits import find_input_limits
from segplug_torch.norms import revert_sync_batchnorm
from segplug_torch.undescribed.metadata import Known, input_files, make_meta, nominal_size
from segplug_torch.undescribed.scores import find_scores
from segplug_torch.weights import load_weights
from torch import nn

from segplug.checkpoint import read_checkpoint
from segplug.errors import ModelError
from segplug.model import SegmentationModel
from segplug.model_folder import model_name
from segplug.preprocessing import Pad
from segplug.quiet import quiet
from segplug_smp.activation import meaning
from segplug_smp.construct import build, require_arguments
from segplug_smp.folder import MODEL_CLASS, Folder
from segplug_smp.known import colours_of

if TYPE_CHECKING:
    from segplug.requests import LoadModelRequest
    from segplug_smp.options import Options

__all__ = ["load"]

_LABELS = "classification_head"
"""The module that classifies the whole image, and the argument that asks for it."""


def load(request: LoadModelRequest[Options], folder: Folder) -> SegmentationModel:
    """Build the network, load its weights strictly, find what it returns.

    Args:
        request: Its options, device and reporter.
        folder: With the overrides of the request.

    Raises:
        ModelError: the config or the weights cannot be used as they are; the message says why.
        UsageError: an override or an option is wrong.
        DeviceError: the device is not there, or its memory is not enough.
    """
    device = resolve_device(request.device)
    require_arguments(folder)
    channels, classes = _whole(folder, "in_channels", 3), _whole(folder, "classes", 1)
    means = meaning(folder.arguments.get("activation"), classes, str(folder.config_file))
    network = _network(request, folder).to(device).requires_grad_(False)
    options = request.options
    if means == "sigmoid" and classes > 1 and not options.multilabel:
        request.reporter.warn(
            f"the head ends in a sigmoid for each of {classes} classes: multilabel is assumed; if a pixel "
            "has one class only: --cfg-options activation=softmax2d"
        )
        request = replace(request, options=replace(options, multilabel=True))
    scores = find_scores(network, channels, nominal_size(options), "logits")
    known = _known(request, folder, channels, network)
    meta = make_meta(request, known, scores)
    return SegmentationModel(
        module=network,
        meta=meta,
        exportable=lambda: _exportable(network),
        device=str(device),
        input_limits=lambda: find_input_limits(network, meta),
        files=input_files(options, folder.config_file, folder.weights),
    )


def _whole(folder: Folder, name: str, default: int) -> int:
    value = folder.arguments.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{folder.config_file}: {name} is {value!r}, not a whole number from 1")
    return value


def _network(request: LoadModelRequest[Options], folder: Folder) -> nn.Module:
    labels = bool(folder.arguments.get("aux_params"))
    network = build(folder, with_labels=labels and request.for_training)
    if folder.weights is not None:
        checkpoint = read_checkpoint(str(folder.weights), trust=request.trust_checkpoint)
        with quiet():
            ignored = load_weights(
                network, checkpoint, is_extra=lambda name: labels and name.startswith(f"{_LABELS}.")
            )
        if any(name.startswith(_LABELS) for name in ignored):
            request.reporter.note("the head that classifies the whole image (aux_params) is left out")
    if labels and request.for_training:
        # Only training uses it: the network returns scores alone.
        head = getattr(network, _LABELS)
        setattr(network, _LABELS, None)
        network.add_module(f"training_{_LABELS}", head)
    return revert_sync_batchnorm(network).eval()


def _known(request: LoadModelRequest[Options], folder: Folder, channels: int, network: nn.Module) -> Known:
    """What is known of a network, with a line that says what of it is assumed."""
    options, arguments = request.options, folder.arguments
    assumed = []
    mean = std = None
    if channels == 3 and options.mean is None and options.std is None:
        colours = colours_of(str(arguments["encoder_name"]), arguments.get("encoder_weights"))
        mean, std = colours.mean, colours.std
        assumed.append(
            f"RGB with mean {_numbers(mean)} and std {_numbers(std)} of {colours.source} (--mean, --std)"
        )
    pad = None
    if network.requires_divisible_input_shape and options.pad_divisor is None:
        pad = Pad(divisor=_stride(network))
        assumed.append(
            f"images padded to multiples of {pad.divisor} with 0 after that, at the bottom and right "
            "(--pad-divisor)"
        )
    if assumed:
        request.reporter.warn(f"the folder says nothing of preprocessing; assumed: {'; '.join(assumed)}")
    return Known(
        name=model_name(folder.path),
        in_channels=channels,
        mean=mean,
        std=std,
        pad=pad,
        config_file=folder.config_file,
        checkpoint=None if folder.weights is None else str(folder.weights),
        distributions=("segplug-smp", "segmentation-models-pytorch", "timm"),
        extra={"smp": {MODEL_CLASS: folder.architecture, "arguments": dict(arguments)}},
    )


def _stride(network: nn.Module) -> int:
    encoder: Any = network.encoder
    return int(encoder.output_stride)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _exportable(network: nn.Module) -> nn.Module:
    from segplug_torch.exportable import make_exportable

    return make_exportable(network, probabilities=False)
