"""A checkpoint of a network of torchvision: its number of classes, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from segplug_torch.weights import load_weights, without_prefix

from segplug.checkpoint import read_checkpoint
from segplug.errors import CheckpointError
from segplug.text import counted

if TYPE_CHECKING:
    from torch import nn

    from segplug.checkpoint import Checkpoint
    from segplug.progress import Reporter
    from segplug_torchvision.builders import Builder

__all__ = ["class_count", "has_aux", "load", "read", "refuse_other_count"]

_AUX = "aux_classifier."
_LAST = ("classifier.4.weight", "classifier.low_classifier.weight")
"""The layers that give the scores: of FCN and DeepLabV3, and of LR-ASPP."""


def read(location: str, *, trust: bool, reporter: Reporter) -> Checkpoint:
    """A checkpoint with torchvision's own names, without a prefix that a trainer put before them.

    Args:
        location: The file.
        trust: Allow the full unpickler, which can run code in the file.
        reporter: Gets a note of what is beside the network.

    Raises:
        CheckpointError: it cannot be read, or holds several networks.
    """
    return without_prefix(read_checkpoint(location, trust=trust), _LAST, reporter)


def class_count(checkpoint: Checkpoint) -> int | None:
    """The number of classes that a checkpoint's network has; ``None``: it has no layer that gives scores."""
    last = next((checkpoint.state[name] for name in _LAST if name in checkpoint.state), None)
    return None if last is None or last.dim() == 0 else int(last.shape[0])


def has_aux(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint holds an auxiliary classifier."""
    return any(name.startswith(_AUX) for name in checkpoint.state)


def load(network: nn.Module, checkpoint: Checkpoint, *, others: Mapping[str, Builder]) -> bool:
    """Copy a checkpoint into a network strictly; an auxiliary classifier that it lacks is left out.

    Args:
        network: Its tensors are overwritten.
        checkpoint: The weights.
        others: Other networks, by their names: if the weights do not fit, the error says which they fit.

    Returns:
        Whether an auxiliary classifier was left out.

    Raises:
        CheckpointError: a weight is missing, left over or of another shape.
    """
    try:
        ignored = load_weights(network, checkpoint, is_extra=lambda name: name.startswith(_AUX))
    except CheckpointError as error:
        if fitting := _fitting(checkpoint, others):
            error.add_hint(f"it fits torchvision:{fitting}")
        raise
    return any(name.startswith(_AUX) for name in ignored)


def _fitting(checkpoint: Checkpoint, others: Mapping[str, Builder]) -> str | None:
    """The network whose weights have these names and shapes, if there is one."""
    import torch

    count = class_count(checkpoint)
    if count is None:
        return None
    held = {name: tuple(value.shape) for name, value in checkpoint.state.items() if _counts(name)}
    for name, builder in others.items():
        with torch.device("meta"):
            state = builder.build(count).state_dict()
        if held == {key: tuple(value.shape) for key, value in state.items() if _counts(key)}:
            return name
    return None


def _counts(name: str) -> bool:
    return not name.startswith(_AUX) and not name.endswith("num_batches_tracked")


def refuse_other_count(checkpoint: Checkpoint, given: int) -> None:
    """Check a number of classes that the user gives.

    Raises:
        CheckpointError: the checkpoint has another.
    """
    held = class_count(checkpoint)
    if held is not None and held != given:
        raise CheckpointError(
            f"num_classes is {given}, and {checkpoint.path} has {counted(held, 'class', 'classes')}",
            hint="leave out num_classes: it is read from the checkpoint",
        )
