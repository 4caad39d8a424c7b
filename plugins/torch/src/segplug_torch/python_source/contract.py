"""Check that a plain network takes images and returns logits, by a run on a small image."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from segplug.errors import ModelError
from segplug_torch.errors import REFUSALS, is_out_of_memory, one_line

__all__ = ["count_channels"]

_SQUARES = (64, 128, 256, 512)
"""Sizes to try, the smallest that the network takes."""

_EXPECTED = "float32 logits (N, classes, H, W) of the input's height and width"


def count_channels(network: nn.Module, size: tuple[int, int] | None) -> int:
    """The channels of the network's logits.

    Args:
        network: In eval mode.
        size: A (height, width) that it should take; ``None``: not known.

    Raises:
        ModelError: it takes no image, or does not return float32 logits of the input's size.
    """
    kinds = {value.dtype for value in network.state_dict().values() if value.is_floating_point()}
    if kinds - {torch.float32}:
        names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        raise ModelError(
            f"the weights of the network are {names}, and float32 is expected", hint="net.float()"
        )
    height, width, output = _run(network, size)
    fault = _fault(output, (height, width))
    if fault is not None:
        raise ModelError(
            f"for a {height}x{width} image the network returned {fault}, not {_EXPECTED}",
            hint="return a module whose forward gives the logits alone",
        )
    return int(output.shape[1])


def _run(network: nn.Module, size: tuple[int, int] | None) -> tuple[int, int, Any]:
    """A size that the network takes, and what it returned for it."""
    squares = [(edge, edge) for edge in _SQUARES if size is None or edge <= min(size)]
    sizes = list(dict.fromkeys([*squares, *([size] if size else [])]))
    parameter = next(network.parameters(), None)
    device = "cpu" if parameter is None else parameter.device
    refusal: Exception | None = None
    for height, width in sizes:
        try:
            with torch.inference_mode():
                return height, width, network(torch.zeros(1, 3, height, width, device=device))
        except REFUSALS as error:
            if is_out_of_memory(error):
                raise
            refusal = error
    assert refusal is not None
    tried = ", ".join(f"{height}x{width}" for height, width in sizes)
    raise ModelError(
        f"the network takes no image of {tried}: {type(refusal).__name__}: {one_line(refusal)}",
        hint=None if size else "give a size that it takes: --input-size HEIGHT WIDTH",
    ) from refusal


def _fault(output: Any, size: tuple[int, int]) -> str | None:
    """A description of an output that is not logits; ``None``: it is logits."""
    if isinstance(output, dict):
        return f"a dict with the keys {', '.join(map(repr, output))}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    if not isinstance(output, torch.Tensor):
        return f"a {type(output).__name__}"
    if output.dtype != torch.float32:
        return f"{str(output.dtype).removeprefix('torch.')} values"
    if output.dim() != 4 or output.shape[0] != 1 or tuple(output.shape[2:]) != size:
        return f"a tensor of {'x'.join(map(str, output.shape)) or 'no dimension'}"
    return None
