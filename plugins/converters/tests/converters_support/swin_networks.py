"""Small Swins of timm and transformers, their files and features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from converters_support.conversion import State
from converters_support.foreign import library, outputs_of, saved, seeded
from converters_support.mmseg_backbone import mmseg_outputs
from segplug.results import ConversionReport

SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "depths": (2, 1, 2, 2),
    "num_heads": (1, 2, 4, 8),
    "window_size": 4,
}
_WIDTHS = (16, 32, 64, 128)
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def timm_network(**settings: Any) -> torch.nn.Module:
    library("timm")
    from timm.models.swin_transformer import SwinTransformer

    size = {"img_size": 128, "dynamic_img_size": True}
    return seeded(SwinTransformer(num_classes=3, **{**size, **SMALL, **settings}))


def features(report: ConversionReport, state: State, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of mmseg's backbone of the reported settings."""
    return mmseg_outputs(report.data["backbone"], state, pixels)


def without(state: State, *starts: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(starts)}


def timm_features(network: Any, pixels: torch.Tensor, norms: State | None = None) -> list[torch.Tensor]:
    """The outputs of all stages, normalised by ``norms``, or by new norms and the classifier's."""
    with torch.no_grad():
        stages = network.forward_intermediates(pixels, intermediates_only=True)
    last = network.norm.state_dict()
    given = norms or {"norm3.weight": last["weight"], "norm3.bias": last["bias"]}
    return [normalised(stage, given, number) for number, stage in enumerate(stages)]


def normalised(maps: torch.Tensor, norms: State, stage: int) -> torch.Tensor:
    weight, bias = norms.get(f"norm{stage}.weight"), norms.get(f"norm{stage}.bias")
    last = torch.nn.functional.layer_norm(maps.permute(0, 2, 3, 1), maps.shape[1:2], weight, bias)
    return last.permute(0, 3, 1, 2)


def as_official(state: State, size: int = 128) -> dict[str, torch.Tensor]:
    """timm's weights as the official repository names them, with the constants that its files hold."""
    library("timm")
    from timm.models.swin_transformer import get_relative_position_index

    official: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        parts = name.replace("head.fc.", "head.").split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        official[".".join(parts)] = tensor.clone()
        if name.endswith("relative_position_bias_table"):
            official[name.replace("bias_table", "index")] = get_relative_position_index(4, 4)
    windows = (size // 4 // 4) ** 2
    official["layers.0.blocks.1.attn_mask"] = torch.zeros(windows, 16, 16)
    return official


def as_segmentation(state: State) -> dict[str, torch.Tensor]:
    """timm's weights as the official networks for segmentation and detection name them."""
    return {**without(as_official(state), "norm.", "head."), **own_norms()}


def own_norms() -> dict[str, torch.Tensor]:
    """Weights for the norms of all stages."""
    norms = torch.nn.ModuleDict({f"norm{k}": torch.nn.LayerNorm(width) for k, width in enumerate(_WIDTHS)})
    return dict(seeded(norms, seed=3).state_dict())


def transformers_network(kind: str, **settings: Any) -> Any:
    transformers = library("transformers")
    config = transformers.SwinConfig(**{"image_size": 96, **SMALL, **settings}, num_labels=3)
    return seeded(getattr(transformers, kind)(config))


def in_memory(network: Any, folder: Path) -> dict[str, torch.Tensor]:
    return dict(network.state_dict())


def transformers_features(network: Any, pixels: torch.Tensor, norms: State) -> list[torch.Tensor]:
    """The outputs of all stages before their downsampling, normalised."""
    stages = [stage.blocks[-1] for stage in network.encoder.layers]
    *outputs, last = outputs_of([*stages, network], lambda: network(pixels))
    height, width = (-(-side // 4) for side in pixels.shape[2:])
    found = []
    for number, (output, *_) in enumerate(outputs):
        maps = output.transpose(1, 2).reshape(1, -1, height, width)
        found.append(normalised(maps, norms, number))
        height, width = -(-height // 2), -(-width // 2)
    assert torch.allclose(found[-1].flatten(2).transpose(1, 2), last.last_hidden_state, atol=1e-5)
    return found


def maskformer_network() -> Any:
    transformers = library("transformers")
    config = transformers.MaskFormerSwinConfig(image_size=96, **SMALL, out_features=STAGES)
    return seeded(transformers.MaskFormerSwinBackbone(config))


def whole(layout: str, folder: Path) -> dict[str, torch.Tensor]:
    """The weights in a layout, with nothing else in the file."""
    if layout == "transformers-maskformer":
        return saved(maskformer_network(), folder)
    if layout.startswith("transformers"):
        kind = "SwinBackbone" if layout.endswith("backbone") else "SwinModel"
        settings = {"out_features": STAGES} if kind == "SwinBackbone" else {}
        network = transformers_network(kind, use_absolute_embeddings=True, **settings)
        return (in_memory if "5" in layout else saved)(network, folder)
    state = dict(timm_network().state_dict())
    if layout == "timm":
        return state
    table = torch.arange(24 * 24 * 16.0)
    if layout == "official":
        return {**as_official(state), "absolute_pos_embed": table.reshape(1, 24 * 24, 16)}
    return {**as_segmentation(state), "absolute_pos_embed": table.reshape(1, 16, 24, 24)}
