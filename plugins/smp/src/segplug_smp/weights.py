"""A checkpoint loaded strictly into a network of smp."""

from __future__ import annotations

from dataclasses import replace

from segplug_torch.weights import load_weights
from torch import nn

from segplug.checkpoint import Checkpoint, read_checkpoint
from segplug.errors import CheckpointError
from segplug.progress import Reporter
from segplug.quiet import quiet
from segplug.text import counted, shortened

__all__ = ["LABELS", "load"]

LABELS = "classification_head"
"""The module that classifies the whole image."""
_HEAD = "segmentation_head."
_MOST_NAMES = 100
"""Characters of the names that a note lists."""


def load(network: nn.Module, file: str, *, built: str, trust: bool, labels: bool, reporter: Reporter) -> None:
    """Copy the weights of a file into a network; every weight must be there, and none may be left over.

    Names may have a prefix that they all share, such as ``model.``, which trainers put before them.

    Args:
        network: Its tensors are overwritten.
        file: The weights.
        built: What the network is, for messages.
        trust: Allow the full unpickler, which can run code in the file.
        labels: Whether those of a head that classifies the whole image may be left over.
        reporter: Gets a note of what is left out.

    Raises:
        CheckpointError: the file is damaged, or of another network.
    """
    checkpoint = _without_prefix(read_checkpoint(file, trust=trust), network, reporter)
    try:
        with quiet():  # smp warns of tensors of another shape, which are an error here
            ignored = load_weights(
                network, checkpoint, is_extra=lambda name: labels and name.startswith(f"{LABELS}.")
            )
    except CheckpointError as error:
        raise CheckpointError(error.message, hint=f"the network is {built}") from error
    if any(name.startswith(LABELS) for name in ignored):
        reporter.note("the head that classifies the whole image (aux_params) is left out")


def _without_prefix(checkpoint: Checkpoint, network: nn.Module, reporter: Reporter) -> Checkpoint:
    anchor = next(name for name in network.state_dict() if name.startswith(_HEAD))
    found = {name.removesuffix(anchor) for name in checkpoint.state if name.endswith(f".{anchor}")}
    if anchor in checkpoint.state or not found:
        return checkpoint
    if len(found) > 1:
        raise CheckpointError(
            f"{checkpoint.path} holds several networks: {', '.join(sorted(found))}",
            hint="put the one you want into a file of its own",
        )
    prefix = found.pop()
    state = {name: value for name, value in checkpoint.state.items() if name.startswith(prefix)}
    rest = [name for name in checkpoint.state if name not in state]
    if rest:  # such as the weights of a loss
        names = shortened(", ".join(rest), _MOST_NAMES)
        reporter.note(f"{counted(len(rest), 'tensor')} beside the network ({prefix}*) left out: {names}")
    return replace(checkpoint, state={name.removeprefix(prefix): value for name, value in state.items()})
