"""A checkpoint's weights, loaded strictly into a segmentor."""

from __future__ import annotations

from collections.abc import Callable

from segplug_torch.weights import load_weights
from torch import nn

from segplug.checkpoint import Checkpoint
from segplug.errors import CheckpointError
from segplug.progress import Reporter
from segplug.text import counted
from segplug_mmseg.checkpoint_meta import writer
from segplug_mmseg.installed import Name

__all__ = ["load_segmentor"]

_AVERAGED = "ema_state_dict"
"""The entry by which mmengine's ``EMAHook`` says that it averaged the weights. It saves the averages as the
weights, for deployment, and the last iteration's weights in this entry."""


def load_segmentor(
    segmentor: nn.Module,
    checkpoint: Checkpoint,
    *,
    reporter: Reporter,
    config_generation: Callable[[], Name] | None = None,
) -> None:
    """Copy a checkpoint's weights into a segmentor; every weight must be there.

    Ignored, with a note: the heads that only training uses (``auxiliary_head``) and running averages of the
    weights (``ema_``).

    Args:
        segmentor: Its tensors are overwritten.
        checkpoint: The weights.
        reporter: Gets the notes.
        config_generation: Of which generation the config is; asked only if the weights do not fit.

    Raises:
        CheckpointError: names are missing or unexpected, or tensors have another shape. It says so if the
            file is of another generation than the config.
    """
    try:
        ignored = load_weights(segmentor, checkpoint, is_extra=_is_for_training)
    except CheckpointError as error:
        error.add_hint(_other_generation(checkpoint, config_generation))
        raise
    if ignored:
        heads = sorted({name.split(".")[0] if "." in name else "ema" for name in ignored})
        reporter.note(
            f"{checkpoint.path}: ignored {counted(len(ignored), 'tensor')} for training ({', '.join(heads)})"
        )
    if _AVERAGED in checkpoint.rest:
        reporter.note(
            f"{checkpoint.path}: the weights are averages over the training, as mmengine tests them; those "
            f"of the last iteration, in {_AVERAGED}, are not used"
        )


def _is_for_training(name: str) -> bool:
    return name.startswith(("auxiliary_head.", "ema_"))


def _other_generation(checkpoint: Checkpoint, config_generation: Callable[[], Name] | None) -> str:
    """What to do about a file of another generation than the config; empty if it is not known to be."""
    wrote = writer(checkpoint.meta)
    if wrote is None or config_generation is None:
        return ""
    wanted = config_generation()
    if wanted == wrote.generation:
        return ""
    return (
        f"{wrote.library} wrote it, so it is of mmsegmentation {wrote.generation}, and the config is of "
        f"{wanted}: give the config that it was trained with"
    )
