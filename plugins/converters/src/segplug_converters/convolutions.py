"""What the tables of convolutional networks share: a convolution and the batch normalisation behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from segplug.errors import CheckpointError
from segplug_converters.layout import WEIGHT_OR_BIAS, Shapes, shown
from segplug_converters.names import Words
from segplug_converters.rules import Move, move

__all__ = [
    "CONVOLUTIONAL",
    "NamedShape",
    "check_network",
    "conv_module",
    "convolution",
    "in_eights",
    "module",
    "norm",
]

CONVOLUTIONAL: Words = {**WEIGHT_OR_BIAS, "b": ("weight", "bias", "running_mean", "running_var")}
"""The words of every layout that uses :func:`norm` or :func:`conv_module`."""

NamedShape = tuple[str, tuple[int, ...]]
"""A tensor of mmseg's network."""

_COUNTER = "num_batches_tracked"
"""Of a normalisation. Files of PyTorch before 0.4.1 have none, nor have frozen normalisations; PyTorch loads
strictly without."""


def norm(source: str, target: str, *, optional: str = "", spare: bool = False) -> tuple[Move, ...]:
    """A batch normalisation, with or without its counter of batches."""
    counters = f"counters of batches of {optional}" if optional else "counters of batches"
    return (
        move(f"{source}.<b>", f"{target}.<b>", optional=optional, spare=spare),
        move(f"{source}.{_COUNTER}", f"{target}.{_COUNTER}", optional=counters, spare=spare),
    )


def conv_module(
    conv: str, bn: str, target: str, *, optional: str = "", spare: bool = False
) -> tuple[Move, ...]:
    """A convolution without bias and its normalisation, which are one ``ConvModule`` in mmseg."""
    return (
        move(f"{conv}.weight", f"{target}.conv.weight", optional=optional, spare=spare),
        *norm(bn, f"{target}.bn", optional=optional, spare=spare),
    )


def convolution(conv: str, bn: str, after: int, before: int, kernel: int) -> Iterator[NamedShape]:
    """The tensors of a convolution without bias and of its normalisation.

    Args:
        conv: mmseg's name of the convolution.
        bn: mmseg's name of the normalisation.
        after: Channels that it gives.
        before: Channels that each of them is computed from: 1 where every channel is a group of its own.
        kernel: Height and width.
    """
    yield f"{conv}.weight", (after, before, kernel, kernel)
    for name in CONVOLUTIONAL["b"]:
        yield f"{bn}.{name}", (after,)
    yield f"{bn}.{_COUNTER}", ()


def module(name: str, after: int, before: int, kernel: int) -> Iterator[NamedShape]:
    """The same of a ``ConvModule``."""
    return convolution(f"{name}.conv", f"{name}.bn", after, before, kernel)


def check_network(shapes: Shapes, variant: str, network: Iterable[NamedShape]) -> None:
    """Check that the weights are those of a network, tensor by tensor.

    Args:
        shapes: The converted weights.
        variant: What people call the network.
        network: All that mmseg's network of this variant has. Its counters of batches are there, all of
            them, or none is.

    Raises:
        CheckpointError: a tensor is not there, or has another shape.
    """
    expected = dict(network)
    counters = {name for name in expected if name.endswith(_COUNTER)}
    if not any(name in shapes for name in counters):
        expected = {name: shape for name, shape in expected.items() if name not in counters}
    for name, shape in expected.items():
        found = shapes.of(name)
        if found != shape:
            raise CheckpointError(f"{name} is {shown(found)}, that of mmseg's {variant} {shown(shape)}")


def in_eights(channels: float) -> int:
    """The channels that MobileNets have where ``channels`` are asked for: a multiple of 8, not under 90 %."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
