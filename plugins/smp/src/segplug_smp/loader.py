"""Load a folder of smp as a :class:`segplug.model.SegmentationModel`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from segplug_torch.devices import resolve_device
from segplug_torch.limits import find_input_limits
from segplug_torch.norms import revert_sync_batchnorm
from segplug_torch.undescribed.metadata import input_files, make_meta, nominal_size
from segplug_torch.undescribed.scores import find_scores
from torch import nn

from segplug.errors import ModelError, UsageError
from segplug.limits import MOST_CHANNELS
from segplug.model import SegmentationModel
from segplug_smp.activation import meaning
from segplug_smp.assumptions import assume
from segplug_smp.construct import build, require_arguments
from segplug_smp.folder import Folder
from segplug_smp.sizes import own_size, stride, takes
from segplug_smp.transform import read_transform
from segplug_smp.weights import LABELS
from segplug_smp.weights import load as load_weights

if TYPE_CHECKING:
    from segplug.requests import LoadModelRequest
    from segplug_smp.options import Options

__all__ = ["load"]


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
    channels, classes = _whole(folder, "in_channels", 3), _whole(folder, "classes", 1)
    means = meaning(folder.arguments.get("activation"), classes, str(folder.config_file))
    transform = read_transform(folder.path, channels, approximate=request.approximate)
    require_arguments(folder)
    network = _network(request, folder).to(device).requires_grad_(False)
    request = _multilabel(request, classes, is_sigmoid=means == "sigmoid")
    options, step = request.options, stride(network)
    asked = nominal_size(options) or (transform.size if transform and options.resize is None else None)
    own = own_size(network)
    scores = find_scores(network, channels, asked or own, "logits", step=step)
    first = scores.sizes[0]
    only = None
    if first == own and not takes(network, channels, (first[0] + step, first[1] + step)):
        only = own
    elif takes(network, channels, (first[0] + 1, first[1] + 3)):
        step = 1
    else:
        _require_multiples(options, step)
    known = assume(request, folder, transform, channels=channels, only=only, step=step)
    meta = make_meta(request, known, scores)
    if transform is not None:
        meta = meta.replace(approximations=transform.left_out)
    return SegmentationModel(
        module=network,
        meta=meta,
        exportable=lambda: _exportable(network),
        device=str(device),
        input_limits=lambda: find_input_limits(network, meta),
        files=input_files(options, folder.config_file, folder.weights, transform.file if transform else None),
    )


def _whole(folder: Folder, name: str, default: int) -> int:
    value = folder.arguments.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_CHANNELS:
        raise ModelError(
            f"{folder.config_file}: {name} is {value!r}, not a whole number from 1 to {MOST_CHANNELS}"
        )
    return value


def _network(request: LoadModelRequest[Options], folder: Folder) -> nn.Module:
    labels = bool(folder.arguments.get("aux_params"))
    network = build(folder, with_labels=labels and request.for_training)
    if folder.weights is not None:
        load_weights(
            network,
            str(folder.weights),
            built=f"{folder.architecture} with the encoder {folder.arguments['encoder_name']}, as in "
            f"{folder.config_file}",
            trust=request.trust_checkpoint,
            labels=labels,
            reporter=request.reporter,
        )
    if labels and request.for_training:
        # Only training uses it: the network returns scores alone.
        head = getattr(network, LABELS)
        setattr(network, LABELS, None)
        network.add_module(f"training_{LABELS}", head)
    return revert_sync_batchnorm(network).eval()


def _multilabel(
    request: LoadModelRequest[Options], classes: int, *, is_sigmoid: bool
) -> LoadModelRequest[Options]:
    """The request with the option that the activation in the head stands for."""
    if not is_sigmoid or classes == 1 or request.options.multilabel:
        return request
    request.reporter.warn(
        f"the head ends in a sigmoid for each of {classes} classes, so each is taken as decided alone "
        "(multilabel); if a pixel has one class only: --cfg-options activation=softmax2d"
    )
    return replace(request, options=replace(request.options, multilabel=True))


def _require_multiples(options: Options, step: int) -> None:
    for name in ("crop_size", "input_size"):
        size = getattr(options, name)
        if size is not None and any(edge % step for edge in size):
            raised = ",".join(str(-(-edge // step) * step) for edge in size)
            raise UsageError(
                f"{name} is {size[0]}x{size[1]}, and the network takes multiples of {step} only",
                hint=f"{name}={raised}",
            )


def _exportable(network: nn.Module) -> nn.Module:
    from segplug_smp.exportable import make_exportable

    return make_exportable(network, probabilities=False)
