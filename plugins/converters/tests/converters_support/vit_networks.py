"""Small ViTs of timm and transformers, and their features as tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from converters_support.conversion import State, backbone
from converters_support.foreign import TOLERANCE, difference, library, seeded
from segplug.results import ConversionReport


def timm_vit(kind: str = "vit_tiny_patch16_224", **settings: Any) -> Any:
    """A ViT of timm, of three blocks for images of 64x64."""
    small = {"depth": 3, "img_size": 64, "num_classes": 5}
    return seeded(library("timm").create_model(kind, **{**small, **settings}))


def transformers_vit(kind: str = "ViTModel", config: str = "ViTConfig", **settings: Any) -> Any:
    """A ViT of transformers, of three blocks, 128 channels and two heads for images of 64x64."""
    transformers = library("transformers")
    small = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 512}
    chosen = getattr(transformers, config)(**{**small, "image_size": 64, "patch_size": 16, **settings})
    return seeded(getattr(transformers, kind)(chosen))


def tokens(
    report: ConversionReport, state: State, image: torch.Tensor, **settings: Any
) -> list[torch.Tensor]:
    """The outputs of all blocks of mmseg's network: ``(batch, 1 + patches, channels)``, class token first."""
    reported = {**report.data["backbone"], **settings}
    reported |= {"out_indices": list(range(reported["num_layers"])), "output_cls_token": True}
    network = backbone(reported, state)
    with torch.no_grad():
        stages = network(image)
    return [torch.cat([token[:, None], map_.flatten(2).transpose(1, 2)], dim=1) for map_, token in stages]


def normed(found: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Outputs of all blocks and the final norm: the norm's replaces the last block's."""
    return [*found[:-2], found[-1]]


def differ(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    """Whether a stage differs by more than TOLERANCE."""
    return difference(ours, theirs) > TOLERANCE


def assert_same_bits(ours: State, theirs: Mapping[str, torch.Tensor]) -> None:
    """The same names, and the same values to the bit."""
    assert ours
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name
