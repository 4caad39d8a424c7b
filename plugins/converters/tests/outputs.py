"""What the networks of convolutions compute, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from segplug_mmseg.compat import import_mmseg
from torch import nn

State = Mapping[str, torch.Tensor]


def of_mmseg(settings: Mapping[str, Any], state: State, pixels: torch.Tensor) -> list[torch.Tensor]:
    """All outputs of mmseg's backbone of these settings, with the weights loaded strictly."""
    import_mmseg()
    from mmseg.models import build_backbone

    network: nn.Module = build_backbone(dict(settings))
    network.load_state_dict(dict(state), strict=True)
    network.eval()  # some of mmseg's networks return None here
    with torch.no_grad():
        return list(network(pixels))


def of_modules(network: nn.Module, names: Iterable[str], pixels: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of some of a network's modules, in the order in which they run."""
    outputs: list[torch.Tensor] = []

    def keep(module: nn.Module, given: Any, output: torch.Tensor) -> None:
        outputs.append(output)

    hooks = [network.get_submodule(name).register_forward_hook(keep) for name in names]
    with torch.no_grad():
        network(pixels)
    for hook in hooks:
        hook.remove()
    return outputs


def meta_shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of mmseg's backbone of these settings, without memory."""
    import_mmseg()
    from mmseg.models import build_backbone

    with torch.device("meta"):
        network = build_backbone(dict(settings))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
