"""A checkpoint loaded strictly into a network."""

from __future__ import annotations

import collections
from collections.abc import Callable

import torch
from torch import nn

from segplug.checkpoint import Checkpoint, first_sentence
from segplug.errors import CheckpointError
from segplug.text import counted

__all__ = ["load_weights"]

_COUNTER = "num_batches_tracked"
"""The batch norms' counter of training batches: it changes no result, and old files lack it."""


def load_weights(
    network: nn.Module, checkpoint: Checkpoint, *, is_extra: Callable[[str], bool] = lambda _name: False
) -> list[str]:
    """Copy a checkpoint's weights into a network; every weight must be there, and none may be left over.

    Args:
        network: Its tensors are overwritten.
        checkpoint: The weights.
        is_extra: Whether a tensor of this name, which the network does not have, may be ignored.

    Returns:
        The names that were ignored.

    Raises:
        CheckpointError: names are missing or unexpected, or tensors have another shape.
    """
    own = network.state_dict()
    ignored = [
        name for name in checkpoint.state if name not in own and (name.endswith(_COUNTER) or is_extra(name))
    ]
    state = collections.OrderedDict((k, v) for k, v in checkpoint.state.items() if k not in set(ignored))
    reshaped = [name for name, value in state.items() if name in own and own[name].shape != value.shape]
    try:
        # The modules' own hooks may rename and reshape tensors: what they leave over is what counts.
        missing, unexpected = network.load_state_dict(state, strict=False)
        reshaped = []
    except RuntimeError as error:
        if not reshaped:
            raise CheckpointError(f"cannot load {checkpoint.path}: {first_sentence(error)}") from error
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
    missing = [name for name in missing if not name.endswith(_COUNTER)]
    if missing or unexpected or reshaped:
        shapes = [f"{name} {_shape(state[name])} for {_shape(own[name])}" for name in reshaped]
        raise CheckpointError(
            f"the checkpoint {checkpoint.path} is of another model: {_count(missing, 'missing')}; "
            f"{_count(unexpected, 'unexpected')}; {_count(shapes, 'of another shape')}"
        )
    return ignored


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _count(names: list[str], what: str) -> str:
    first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{counted(len(names), 'key')} {what}" + (f" ({first})" if names else "")
