"""Rules that layouts of convolutional networks share: a convolution and its batch normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from segplug.errors import CheckpointError
from segplug_converters.layout import WEIGHT_OR_BIAS
from segplug_converters.names import Words
from segplug_converters.rules import Move, move
from segplug_converters.shapes import Shapes, format_shape

__all__ = [
    "CONVOLUTIONAL",
    "NamedShape",
    "check_network",
    "conv_module",
    "convolution",
    "module",
    "multiple_of_eight",
    "norm",
]

CONVOLUTIONAL: Words = {**WEIGHT_OR_BIAS, "b": ("weight", "bias", "running_mean", "running_var")}
"""The words of every layout that uses :func:`norm` or :func:`conv_module`."""

NamedShape = tuple[str, tuple[int, ...]]
"""The name and shape of a tensor of mmseg's network."""

_COUNTER = "num_batches_tracked"
"""The counter of a normalisation. Files of PyTorch before 0.4.1 and frozen normalisations have none; PyTorch
loads strictly without it."""


def norm(source: str, target: str, *, optional: str = "", optional_target: bool = False) -> tuple[Move, ...]:
    """A batch normalisation, with or without its counter of batches."""
    counters = f"counters of batches of {optional}" if optional else "counters of batches"
    return (
        move(f"{source}.<b>", f"{target}.<b>", optional=optional, optional_target=optional_target),
        move(
            f"{source}.{_COUNTER}", f"{target}.{_COUNTER}", optional=counters, optional_target=optional_target
        ),
    )


def conv_module(
    conv: str, bn: str, target: str, *, optional: str = "", optional_target: bool = False
) -> tuple[Move, ...]:
    """A convolution without bias and its normalisation, which are one ``ConvModule`` in mmseg."""
    return (
        move(f"{conv}.weight", f"{target}.conv.weight", optional=optional, optional_target=optional_target),
        *norm(bn, f"{target}.bn", optional=optional, optional_target=optional_target),
    )


def convolution(conv: str, bn: str, after: int, before: int, kernel: int) -> Iterator[NamedShape]:
    """The tensors of a convolution without bias and of its normalisation.

    Args:
        conv: mmseg's name of the convolution.
        bn: mmseg's name of the normalisation.
        after: Output channels.
        before: Input channels of a group: 1 for a depthwise convolution.
        kernel: Height and width.
    """
    yield f"{conv}.weight", (after, before, kernel, kernel)
    for name in CONVOLUTIONAL["b"]:
        yield f"{bn}.{name}", (after,)
    yield f"{bn}.{_COUNTER}", ()


def module(name: str, after: int, before: int, kernel: int) -> Iterator[NamedShape]:
    """The same for a ``ConvModule``."""
    return convolution(f"{name}.conv", f"{name}.bn", after, before, kernel)


def check_network(shapes: Shapes, variant: str, network: Iterable[NamedShape]) -> None:
    """Check that the weights are those of a network, tensor by tensor.

    Args:
        shapes: The converted weights.
        variant: The name of the network, for the error.
        network: All tensors of mmseg's network of this variant. The weights have all of its counters of
            batches or none.

    Raises:
        CheckpointError: a tensor is missing, or has another shape.
    """
    expected = dict(network)
    counters = {name for name in expected if name.endswith(_COUNTER)}
    if not any(name in shapes for name in counters):
        expected = {name: shape for name, shape in expected.items() if name not in counters}
    for name, shape in expected.items():
        found = shapes.of(name)
        if found != shape:
            raise CheckpointError(
                f"{name} is {format_shape(found)}, that of mmseg's {variant} {format_shape(shape)}"
            )


def multiple_of_eight(channels: float) -> int:
    """Round channels as MobileNets do: to a multiple of 8, and not below 90 % of the given number."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
