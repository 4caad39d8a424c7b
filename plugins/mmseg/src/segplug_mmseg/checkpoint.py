"""A checkpoint's weights, loaded strictly into a segmentor."""

from __future__ import annotations

from segplug_torch.weights import load_weights
from torch import nn

from segplug.checkpoint import Checkpoint
from segplug.progress import Reporter
from segplug.text import counted

__all__ = ["load_segmentor"]


def load_segmentor(segmentor: nn.Module, checkpoint: Checkpoint, *, reporter: Reporter) -> None:
    """Copy a checkpoint's weights into a segmentor; every weight must be there.

    Ignored, with a note: the heads that only training uses (``auxiliary_head``) and running averages of the
    weights (``ema_``).

    Raises:
        CheckpointError: names are missing or unexpected, or tensors have another shape.
    """
    ignored = load_weights(segmentor, checkpoint, is_extra=_is_for_training)
    if ignored:
        heads = sorted({name.split(".")[0] if "." in name else "ema" for name in ignored})
        reporter.note(
            f"{checkpoint.path}: ignored {counted(len(ignored), 'tensor')} for training ({', '.join(heads)})"
        )


def _is_for_training(name: str) -> bool:
    return name.startswith(("auxiliary_head.", "ema_"))
