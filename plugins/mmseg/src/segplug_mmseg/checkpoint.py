"""A checkpoint's weights, fitted strictly into a segmentor."""

from __future__ import annotations

import collections

import torch
from torch import nn

from segplug.checkpoint import Checkpoint, first_words
from segplug.errors import CheckpointError
from segplug.progress import Reporter

__all__ = ["fit"]


def fit(segmentor: nn.Module, checkpoint: Checkpoint, *, reporter: Reporter) -> None:
    """Copy a checkpoint's weights into a segmentor, all of them or none of it is of use.

    Ignored, and said so: heads that only training uses (``auxiliary_head``) and running averages of
    the weights (``ema_``) in the file; counters of batches that old files lack.

    Raises:
        CheckpointError: names are missing or unexpected, or tensors have another shape.
    """
    own = segmentor.state_dict()
    ignored = [key for key in checkpoint.state if key not in own and _is_for_training(key)]
    state = collections.OrderedDict((k, v) for k, v in checkpoint.state.items() if k not in set(ignored))
    reshaped = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
    try:
        # The modules' own hooks may rename and reshape keys: what they leave over is what counts.
        missing, unexpected = segmentor.load_state_dict(state, strict=False)
        reshaped = []
    except RuntimeError as error:
        if not reshaped:
            raise CheckpointError(f"cannot load {checkpoint.path}: {first_words(error)}") from error
        missing = [key for key in own if key not in state]
        unexpected = [key for key in state if key not in own]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected or reshaped:
        shapes = [f"{key} {_shape(state[key])} for {_shape(own[key])}" for key in reshaped]
        raise CheckpointError(
            f"the checkpoint {checkpoint.path} is of another model: {_count(missing, 'missing')}; "
            f"{_count(unexpected, 'unexpected')}; {_count(shapes, 'of another shape')}"
        )
    if ignored:
        heads = sorted({key.split(".")[0] if "." in key else "ema" for key in ignored})
        reporter.note(f"{checkpoint.path}: ignored {len(ignored)} tensors for training ({', '.join(heads)})")


def _is_for_training(key: str) -> bool:
    return key.startswith(("auxiliary_head.", "ema_")) or key.endswith("num_batches_tracked")


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _count(names: list[str], what: str) -> str:
    first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} keys {what}" + (f" ({first})" if names else "")
