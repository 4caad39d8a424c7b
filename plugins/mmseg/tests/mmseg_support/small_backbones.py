"""mmseg's own model configs with small backbones, and seeded weights for them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from segplug_mmseg.compat import report_warnings
from segplug_mmseg.generation import installed_generation

__all__ = ["backbone_of", "weights_of", "write_config"]

_PLAIN = {"embed_dims": 8, "num_layers": 2, "num_heads": 2, "out_indices": (0, 1), "patch_size": 16}
_STAGES = {"depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 4]}

# name: the config under configs/_base_/models, and what makes its backbone small
_SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("upernet_vit-b16_ln_mln", {**_PLAIN, "img_size": (64, 64)}),
    "swin": ("upernet_swin", {**_STAGES, "embed_dims": 8, "window_size": 4}),
    "beit": ("upernet_beit", {**_PLAIN, "img_size": (96, 96)}),
    "mae": ("upernet_mae", {**_PLAIN, "img_size": (96, 96)}),
    "mit": ("segformer_mit-b0", {"embed_dims": 8, "num_layers": [1, 1, 1, 1]}),
    "twins": ("twins_pcpvt-s_fpn", {"depths": [1, 1, 1, 1]}),
    "resnet": ("fcn_r50-d8", {"depth": 18}),
    "stdc": ("stdc", {}),
    "bisenet": ("bisenetv1_r18-d32", {}),
    "icnet": ("icnet_r50-d8", {}),
}


def write_config(folder: Path, family: str, **backbone: Any) -> Path:
    """A config that inherits mmseg's own for ``family``, with a small backbone changed as asked."""
    spec = importlib.util.find_spec("mmseg")
    assert spec is not None
    assert spec.origin is not None
    base, small = _SMALL[family]
    models = Path(spec.origin).parent / ".mim" / "configs" / "_base_" / "models"
    path = folder / f"{family}.py"
    path.write_text(f"_base_ = {str(models / base)!r} + '.py'\nmodel = dict(backbone={small | backbone!r})\n")
    return path


def backbone_of(config: Path, **changes: Any) -> Any:
    """The config's backbone (the outer one where they nest), as mmseg builds it."""
    generation = installed_generation()
    settings = generation.runnable_model(generation.read_config(str(config)), str(config))["backbone"]
    from mmseg.models import build_backbone

    with report_warnings():
        return build_backbone({**settings, **changes})


def weights_of(network: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """The network's constants and counters, and seeded random numbers for all its weights."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in network.state_dict().items()
    }
