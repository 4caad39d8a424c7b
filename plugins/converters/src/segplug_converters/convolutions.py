"""What the tables of convolutional networks share: a convolution and the batch normalisation behind it."""

from __future__ import annotations

from segplug_converters.layout import WEIGHT_OR_BIAS
from segplug_converters.names import Words
from segplug_converters.rules import Move, move

__all__ = ["CONVOLUTIONAL", "conv_module", "norm"]

CONVOLUTIONAL: Words = {**WEIGHT_OR_BIAS, "b": ("weight", "bias", "running_mean", "running_var")}
"""The words of every layout that uses :func:`norm` or :func:`conv_module`."""


def norm(source: str, target: str, *, optional: bool = False, spare: bool = False) -> tuple[Move, ...]:
    """A batch normalisation.

    Its counter of batches is not in files of PyTorch before 0.4.1, nor in frozen normalisations; PyTorch
    loads strictly without.
    """
    counter = "num_batches_tracked"
    return (
        move(f"{source}.<b>", f"{target}.<b>", optional=optional, spare=spare),
        move(f"{source}.{counter}", f"{target}.{counter}", optional=True, spare=spare),
    )


def conv_module(
    conv: str, bn: str, target: str, *, optional: bool = False, spare: bool = False
) -> tuple[Move, ...]:
    """A convolution without bias and its normalisation, which are one ``ConvModule`` in mmseg."""
    return (
        move(f"{conv}.weight", f"{target}.conv.weight", optional=optional, spare=spare),
        *norm(bn, f"{target}.bn", optional=optional, spare=spare),
    )
