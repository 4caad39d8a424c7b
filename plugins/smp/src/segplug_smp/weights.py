"""A checkpoint loaded strictly into a network of smp."""

from __future__ import annotations

from segplug_torch.weights import load_weights, without_prefix
from torch import nn

from segplug.checkpoint import read_checkpoint
from segplug.errors import CheckpointError
from segplug.progress import Reporter
from segplug.quiet import quiet

__all__ = ["LABELS", "load"]

LABELS = "classification_head"
"""The module that classifies the whole image."""
_HEAD = "segmentation_head."


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
    anchor = next(name for name in network.state_dict() if name.startswith(_HEAD))
    checkpoint = without_prefix(read_checkpoint(file, trust=trust), (anchor,), reporter)
    try:
        with quiet():  # smp warns of tensors of another shape, which are an error here
            ignored = load_weights(
                network, checkpoint, is_extra=lambda name: labels and name.startswith(f"{LABELS}.")
            )
    except CheckpointError as error:
        raise CheckpointError(error.message, hint=f"the network is {built}") from error
    if any(name.startswith(LABELS) for name in ignored):
        reporter.note("the head that classifies the whole image (aux_params) is left out")
