"""Build a network of torchvision, load its weights, and say how it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segplug_torch.devices import resolve_device
from segplug_torch.exportable import make_exportable
from segplug_torch.limits import find_input_limits
from segplug_torch.undescribed.metadata import Known, input_files, make_meta, nominal_size
from segplug_torch.undescribed.scores import find_scores

from segplug.artifact import weights_sha256
from segplug.model import SegmentationModel
from segplug.regular_files import expanded
from segplug_torchvision.builders import builder_names, find_builder
from segplug_torchvision.network import Scores
from segplug_torchvision.options import short_edge
from segplug_torchvision.preset import read_preset
from segplug_torchvision.weights import class_count, has_aux, load, read, refuse_other_count

if TYPE_CHECKING:
    from torch import nn

    from segplug.checkpoint import Checkpoint
    from segplug.requests import LoadModelRequest
    from segplug_torchvision.builders import Builder
    from segplug_torchvision.options import Options
    from segplug_torchvision.preset import Preset

__all__ = ["load_model"]

_CHANNELS = 3


def load_model(request: LoadModelRequest[Options]) -> SegmentationModel:
    """The network that ``request.config`` names.

    Raises:
        UsageError: there is no such network, or an argument or an option is wrong.
        MissingDependencyError: torchvision cannot be imported.
        ModelError: the weights do not fit, or the number of classes is not that of their names.
        DeviceError: the device is not there, or its memory is not enough.
    """
    options = request.options
    size = nominal_size(options)
    builder = find_builder(request.config)
    arguments = builder.arguments(request.cfg_options)
    preset = read_preset(_weights_of(builder))
    edge = short_edge(options, preset.short_edge)
    device = resolve_device(request.device)
    checkpoint = None
    if request.checkpoint is not None:
        checkpoint = read(request.checkpoint, trust=request.trust_checkpoint, reporter=request.reporter)
    network = _network(request, builder, arguments, checkpoint, len(preset.categories))
    module = Scores(network).to(device).eval().requires_grad_(False)
    scores = find_scores(module, _CHANNELS, size, "logits")
    known = Known(
        name=builder.name,
        mean=preset.pixel_mean,
        std=preset.pixel_std,
        normalisation=preset.normalisation,
        resize=preset.resize(edge),
        classes=preset.categories,
        palette=preset.palette,
        checkpoint=request.checkpoint,
        distributions=("segplug-torchvision", "torchvision"),
        extra={"torchvision": _extra(builder, preset, request)},
    )
    meta = make_meta(request, known, scores)
    _say_what_is_assumed(request, preset, scores.channels)
    return SegmentationModel(
        module=module,
        meta=meta,
        exportable=lambda: make_exportable(module),
        device=str(device),
        input_limits=lambda: find_input_limits(module, meta),
        files=input_files(options),
    )


def _weights_of(builder: Builder) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(builder.name).DEFAULT


def _network(
    request: LoadModelRequest[Options],
    builder: Builder,
    arguments: dict[str, Any],
    checkpoint: Checkpoint | None,
    usual: int,
) -> nn.Module:
    """The network with its weights; with an auxiliary classifier where it is asked for or trained further."""
    count = arguments.get("num_classes")
    aux = bool(arguments.get("aux_loss"))
    if checkpoint is None:
        if not request.structure_only:
            request.reporter.warn("no checkpoint is given: the weights are random")
        return builder.build(count or usual, aux=aux)
    if count is not None:
        refuse_other_count(checkpoint, count)
    wants_aux = request.for_training and builder.takes_aux and has_aux(checkpoint)
    aux = bool(arguments.get("aux_loss", wants_aux))
    network = builder.build(class_count(checkpoint) or usual, aux=aux)
    others = {name: find_builder(f"torchvision:{name}") for name in builder_names() if name != builder.name}
    if load(network, checkpoint, others=others):
        request.reporter.note("the auxiliary classifier of the checkpoint is left out: only training uses it")
    return network


def _say_what_is_assumed(request: LoadModelRequest[Options], preset: Preset, channels: int) -> None:
    """Notes on what torchvision says of its own weights, and nobody of these."""
    options = request.options
    if request.structure_only:
        return
    if options.resize_algorithm == "torchvision":
        request.reporter.note(
            "images are resized as torchvision.transforms.v2 resizes 8-bit tensors; the preset of the "
            "weights computes tensors in float32 and rounds them, which is up to one grey level apart"
        )
    if _is_published(request, preset):
        return
    assumed = []
    if options.resize_size is None and options.resize is None and options.crop_size is None:
        assumed.append(f"the short edge resized to {preset.short_edge}")
    if options.mean is None and options.std is None:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (preset.mean, preset.std))
        assumed.append(f"pixels of 0 to 1 normalised with mean {mean} and std {std}")
    if assumed:
        request.reporter.note(
            f"images are prepared as {preset.weights} says: {', '.join(assumed)}; if the network was trained "
            "otherwise, say so with --resize-size (0: own size), --mean and --std"
        )
    if not options.classes and channels == len(preset.categories):
        request.reporter.note(
            f"the network has {channels} classes, which are taken for those of {preset.weights}; --classes "
            "gives others"
        )


def _is_published(request: LoadModelRequest[Options], preset: Preset) -> bool:
    return request.checkpoint is not None and preset.is_file(weights_sha256(expanded(request.checkpoint)))


def _extra(builder: Builder, preset: Preset, request: LoadModelRequest[Options]) -> dict[str, Any]:
    extra: dict[str, Any] = {"network": builder.name, "preset": preset.weights}
    if request.cfg_options:  # the name alone does not say what was built
        extra["cfg_options"] = {name: str(value) for name, value in request.cfg_options.items()}
    return extra
