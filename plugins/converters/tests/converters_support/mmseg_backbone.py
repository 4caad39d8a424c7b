"""mmseg's backbones by their settings: their outputs, and the names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from segplug_mmseg.compat import import_mmseg

from converters_support.conversion import State, backbone


def mmseg_outputs(settings: Mapping[str, Any], state: State, pixels: torch.Tensor) -> list[torch.Tensor]:
    """All outputs of mmseg's backbone of these settings, with the weights loaded strictly."""
    with torch.no_grad():
        return list(backbone(settings, state)(pixels))


def mmseg_shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of mmseg's backbone of these settings, on the meta device."""
    import_mmseg()
    from mmseg.models import build_backbone

    with torch.device("meta"):
        network = build_backbone(dict(settings))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
