"""Small networks of BEiT and MAE of timm and transformers, and their features as maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from converters_support.conversion import State, backbone
from converters_support.foreign import image, library, outputs_of, saved, seeded

DEPTH = 3
SMALL = {"img_size": 64, "patch_size": 16, "embed_dim": 64, "depth": DEPTH, "num_heads": 4, "num_classes": 5}
TIMM_KINDS: dict[str, dict[str, Any]] = {
    "timm": {"use_rel_pos_bias": True},
    "timm-shared": {"use_shared_rel_pos_bias": True, "global_pool": "token"},
}
TRANSFORMERS_KINDS: dict[str, dict[str, Any]] = {
    "transformers": {"use_relative_position_bias": True},
    "transformers-shared": {"use_shared_relative_position_bias": True, "use_mean_pooling": False},
}
PRETRAINING = "-pretraining"
ALL_KINDS = [
    *TIMM_KINDS,
    *(
        kind.replace("transformers", start)
        for kind in TRANSFORMERS_KINDS
        for start in ("transformers", "transformers-5")
    ),
]
ALL_KINDS += [kind + PRETRAINING for kind in ALL_KINDS if "transformers" in kind]


def timm_beit(layout: str, **changed: Any) -> torch.nn.Module:
    """A small network of timm; the shared kind has a final norm."""
    beit = library("timm.models.beit")
    settings = {"use_abs_pos_emb": False, "init_values": 0.1, **SMALL, **TIMM_KINDS[layout], **changed}
    return seeded(beit.Beit(**settings))


def transformers_beit(layout: str, kind: str = "BeitModel", **changed: Any) -> Any:
    """A network of transformers; the shared kind has a final norm (for pre-training outside of BeitModel)."""
    settings = TRANSFORMERS_KINDS[layout.replace("-5", "").removesuffix(PRETRAINING)]
    if PRETRAINING in layout:
        kind, settings = "BeitForMaskedImageModeling", {**settings, "vocab_size": 9, "use_mean_pooling": True}
    return of_transformers(
        kind,
        "BeitConfig",
        **{**settings, "hidden_size": 64, "num_attention_heads": 4, "use_mask_token": True, **changed},
    )


def transformers_mae(kind: str = "ViTMAEForPreTraining", **changed: Any) -> Any:
    """A small MAE of transformers, which hides no patches."""
    decoder = {f"decoder_{name}_size": 32 for name in ("hidden", "intermediate")}
    decoder |= {"decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    changed = {"hidden_size": 128, "num_attention_heads": 2, "mask_ratio": 0.0, **decoder, **changed}
    return of_transformers(kind, "ViTMAEConfig", **changed)


def of_transformers(kind: str, config: str, *, hidden_size: int, **settings: Any) -> Any:
    """A network of few blocks for images of 64x64."""
    transformers = library("transformers")
    chosen = getattr(transformers, config)(
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=DEPTH,
        image_size=64,
        **settings,
    )
    return seeded(getattr(transformers, kind)(chosen))


def timm_vit(**changed: Any) -> torch.nn.Module:
    """The encoder of a small MAE, whose heads have 64 channels as all published ones."""
    vit = library("timm.models.vision_transformer")
    return seeded(vit.VisionTransformer(**{**SMALL, "embed_dim": 128, "num_heads": 2, **changed}))


def foreign(layout: str, folder: Path) -> tuple[Any, State]:
    """A network and its weights in a layout."""
    network: Any = timm_beit(layout) if layout in TIMM_KINDS else transformers_beit(layout)
    in_memory = layout in TIMM_KINDS or "-5" in layout
    return network, network.state_dict() if in_memory else saved(network, folder / "saved")


@torch.no_grad()
def block_outputs(network: Any, pixels: int, **inputs: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of all blocks of a foreign network as maps, the last one after the final norm."""
    core = getattr(network, "beit", getattr(network, "vit", network))
    is_timm = hasattr(core, "blocks")
    outputs = outputs_of(
        core.blocks if is_timm else core.layers, lambda: core(image(pixels, pixels), **inputs)
    )
    norm = core.norm if is_timm else getattr(network, "layernorm", core.layernorm)
    outputs[-1] = norm(outputs[-1])
    edge = pixels // 16
    return [out[:, 1:].transpose(1, 2).reshape(len(out), -1, edge, edge) for out in outputs]


@torch.no_grad()
def features(settings: dict[str, Any], state: State, pixels: int = 64) -> Sequence[torch.Tensor]:
    """The outputs of all blocks of mmseg's network of these settings."""
    network = backbone({**settings, "out_indices": list(range(settings["num_layers"]))}, state)
    return network(image(pixels, pixels))  # type: ignore[no-any-return]
