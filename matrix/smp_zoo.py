"""Tiny networks of segmentation-models-pytorch for tests: all architectures, encoders of both kinds.

They are the library's own classes with small decoders, so that an export takes seconds. At least three
classes each cover more than 5% of the sample images; where each class is decided alone, each covers 5 to 95%.
Where smp cannot be imported as it is, call ``scripts.proofs.install`` first.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from matrix.random_weights import fill, scale, shares
from segplug.verification.sample import sample_image

Size = tuple[int, int]
CLASSES = ("road", "building", "vegetation", "sky", "car")
SIZES: tuple[Size, ...] = ((64, 96), (96, 64))
SEEDS = (0, 1)
"""The sample images that a network is balanced for: each seed in each size (height, width)."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""What ``inputs`` normalises RGB by, as a share of 255; a channel more has a mean and deviation of 0.5."""


@dataclass(frozen=True)
class Entry:
    """A network: which class of smp, and what it is called with."""

    architecture: str
    encoder: str = "resnet18"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[Size, ...] = SIZES
    """Sizes (height, width) that it takes and that its weights are balanced for."""


_BLOCKS = {"decoder_channels": (32, 24, 16, 12, 8)}
_VIT = {
    "encoder_depth": 2,
    "encoder_output_indices": (1, 3),
    "decoder_intermediate_channels": (16, 24),
    "decoder_fusion_channels": 16,
}
_SMALL: Mapping[str, Mapping[str, Any]] = {
    "Unet": _BLOCKS,
    "UnetPlusPlus": _BLOCKS,
    "MAnet": {**_BLOCKS, "decoder_pab_channels": 16},
    "FPN": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32},
    "PSPNet": {"psp_out_channels": 32},
    "DeepLabV3": {"decoder_channels": 16},
    "DeepLabV3Plus": {"decoder_channels": 16},
    "PAN": {"decoder_channels": 16},
    "UPerNet": {"decoder_channels": 16},
    "Segformer": {"decoder_segmentation_channels": 16},
    "DPT": _VIT,
}


def _unet(encoder: str, **arguments: Any) -> Entry:
    return Entry("Unet", encoder, arguments)


ENTRIES: Mapping[str, Entry] = {
    "unet": Entry("Unet"),
    "unetplusplus": Entry("UnetPlusPlus"),
    "manet": Entry("MAnet"),
    "linknet": Entry("Linknet"),
    "fpn": Entry("FPN"),
    "pspnet": Entry("PSPNet"),
    "deeplabv3": Entry("DeepLabV3"),
    "deeplabv3plus": Entry("DeepLabV3Plus"),
    "pan": Entry("PAN", sizes=((128, 160), (192, 128))),
    "upernet": Entry("UPerNet"),
    "segformer": Entry("Segformer", "mit_b0"),
    "dpt": Entry("DPT", "tu-test_vit", {"dynamic_img_size": True}),
    # one size only
    "dpt-fixed": Entry(
        "DPT",
        "tu-test_vit",
        {"img_size": (64, 96), "dynamic_img_size": False},
        sizes=((64, 96),),
    ),
    # encoders of smp's own
    "unet-efficientnet": _unet("efficientnet-b0"),
    "unet-mobilenet_v2": _unet("mobilenet_v2"),
    "unet-mobileone": _unet("mobileone_s0"),
    # encoders of timm
    "unet-tu-resnet18": _unet("tu-resnet18"),
    "unet-tu-convnext": _unet("tu-test_convnext"),
    "fpn-tu-mobilenetv3": Entry("FPN", "tu-tf_mobilenetv3_small_minimal_100"),
    # outputs and inputs of other kinds
    "unet-four-channels": _unet("resnet18", in_channels=4),
    "unet-binary": _unet("resnet18", classes=1),
    "unet-multilabel": _unet("resnet18", activation="sigmoid"),
    "fpn-softmax": Entry("FPN", arguments={"activation": "softmax2d"}),
    "unet-classification-head": _unet("resnet18", aux_params={"classes": 3}),
}

NAMES = tuple(ENTRIES)
"""The names of the networks; the first 12 are the architectures, a hyphen leads to what is special."""


def build(name: str) -> nn.Module:
    """Return a network with random weights, in evaluation mode.

    Args:
        name: One of ``NAMES``.

    Raises:
        RuntimeError: No seed gives classes that are seen in every sample image.
    """
    return build_entry(ENTRIES[name])


def build_entry(entry: Entry) -> nn.Module:
    """Return the network of an entry of any kind: see ``build``."""
    samples = [
        inputs(entry.arguments.get("in_channels", 3), size, (seed, seed + 2))
        for size, seed in itertools.product(entry.sizes, SEEDS)
    ]
    for seed in range(50):
        torch.manual_seed(seed)
        network = _network(entry)
        with torch.no_grad():
            fill(network)
            _measure_normalisations(network, samples)
            outputs = _balanced(network, samples)
        if all(_seen(one, entry.arguments.get("activation")) for one in outputs):
            return network
    raise RuntimeError(f"No seed gives classes that are seen: {entry}")


def save(name: str, folder: Path) -> nn.Module:
    """Write a network with random weights into a folder, as ``save_pretrained`` does, and return it."""
    network: Any = build(name)
    network.save_pretrained(folder)
    return network  # type: ignore[no-any-return]


def inputs(channels: int, size: Size, seeds: tuple[int, ...]) -> torch.Tensor:
    """Return normalised sample images, (len(seeds), channels, height, width) float32."""
    pad = channels - 3
    mean, std = (torch.tensor([*pair, *[0.5] * pad][:channels]) for pair in (MEAN, STD))
    images = [torch.from_numpy(sample_image(*size, channels=channels, seed=seed)) for seed in seeds]
    pixels = torch.stack([image.view(*size, channels) for image in images]).float() / 255
    return ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous()


def _network(entry: Entry) -> Any:
    import segmentation_models_pytorch as smp

    settings = {"classes": len(CLASSES), **_SMALL.get(entry.architecture, {}), **entry.arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are replaced in the library
        return getattr(smp, entry.architecture)(entry.encoder, encoder_weights=None, **settings).eval()


def _measure_normalisations(network: nn.Module, samples: list[torch.Tensor]) -> None:
    """Let the normalisations have the statistics of the sample images, so that places keep differing."""
    norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all
        norm.train()
    for one in samples:
        network(one)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        if norm.running_var is not None:
            norm.running_var.clamp_(min=0.05)
        norm.eval()


def _balanced(network: Any, samples: list[torch.Tensor]) -> list[torch.Tensor]:
    """Scale the last layer so that the classes are about as frequent as each other; give the outputs."""
    head = network.segmentation_head
    layer = next(part for part in reversed(list(head.modules())) if isinstance(part, nn.Conv2d))
    made: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _given, result: made.append(result))
    for one in samples:
        network(one)
    handle.remove()
    scale(layer, torch.cat([one.transpose(0, 1).flatten(1) for one in made], 1), 1)
    results = [network(one) for one in samples]
    return [one[0] if isinstance(one, tuple) else one for one in results]


def _seen(scores: torch.Tensor, activation: str | None) -> bool:
    """Whether three classes are seen in each image; of classes decided alone, none nowhere nor everywhere."""
    classes = scores.shape[1]
    if classes == 1 or activation == "sigmoid":
        found = (scores > (0.5 if activation else 0)).float().mean(dim=(2, 3))
        return bool(((found > 0.05) & (found < 0.95)).all())
    return all((shares(one.argmax(0), classes) > 0.05).sum() >= 3 for one in scores)
