"""Check that a plain network takes images and returns scores, by runs on small images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from segplug.errors import DeviceError, ModelError
from segplug.strides import common_stride
from segplug_torch.errors import is_out_of_memory, one_line, refusals
from segplug_torch.undescribed.outputs import named_outputs
from segplug_torch.undescribed.steadiness import require_steady

__all__ = ["Scores", "find_scores"]

Size = tuple[int, int]
"""(height, width)."""

_SQUARES = (64, 128, 256, 512)
"""Sizes to try, the smallest that the network takes."""

_EXPECTED = (
    "float32 scores (N, classes, h, w), h and w the image's height and width divided by one whole number and "
    "rounded up"
)


@dataclass(frozen=True)
class Scores:
    """What the network returns."""

    channels: int
    stride: int
    """The input's height and width, divided by this and rounded up, are those of the scores."""
    sizes: tuple[Size, ...]
    """The (height, width) of the images that it was run on: one, if it takes no larger one."""
    fixed_to: Size | None = None
    """The only (height, width) at which it returns scores of that stride, though it may run at others."""


def find_scores(
    network: nn.Module,
    in_channels: int,
    size: Size | None,
    kind: Literal["logits", "probabilities"],
    *,
    step: int = 1,
) -> Scores:
    """Run the network on one small image and, if it takes it, on a larger one.

    Args:
        network: In eval mode.
        in_channels: Channels of the images.
        size: A (height, width) that it should take; ``None``: not known.
        kind: What it is said to return.
        step: What height and width have to be multiples of, if that is known.

    Raises:
        ModelError: it takes no such image, or returns something else than float32 scores at one stride, or
            probabilities below 0, or other scores each time, or scores that follow the rest of the batch.
        DeviceError: the memory is not enough.
    """
    kinds = {value.dtype for value in network.state_dict().values() if value.is_floating_point()}
    if kinds - {torch.float32}:
        names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        raise ModelError(
            f"the weights of the network are {names}, and float32 is expected", hint="net.float()"
        )
    run = _Trial(network, in_channels)
    answers = [_smallest(run, size, step)]
    if _common_stride(answers) is not None:  # what is wrong is not run again
        answers += _larger(run, answers[0][0])
    fixed_to = None
    if size is not None and _common_stride(answers) is None:
        # A network that has frozen a size, as a trace may have: it is right at that size.
        own = [answers[0] if answers[0][0] == size else _at(run, size)]
        if _common_stride(own) is not None:
            answers, fixed_to = own, size
    stride = _stride(answers, kind)
    require_steady(network, in_channels, answers[0][0])
    return Scores(
        stride=stride,
        channels=int(answers[0][1].shape[1]),
        sizes=tuple(size for size, _ in answers),
        fixed_to=fixed_to,
    )


def _common_stride(answers: Sequence[tuple[Size, Any]]) -> int | None:
    """The stride that all answers have; ``None``: one is not as expected, or they have different ones."""
    if any(_fault(output) for _, output in answers):
        return None
    return common_stride((size, (output.shape[2], output.shape[3])) for size, output in answers)


def _stride(answers: Sequence[tuple[Size, Any]], kind: str) -> int:
    """The stride of what the network returned for images of these sizes; raises if it is not as expected."""
    stride = _common_stride(answers)
    if stride is None:
        faults = [_fault(output) for _, output in answers]
        returned = [
            f"for a {_by(size)} image {fault or f'a tensor of {_by(output.shape)}'}"
            for (size, output), fault in zip(answers, faults, strict=True)
        ]
        raise ModelError(
            f"the network returned {' and '.join(returned)}, not {_EXPECTED}",
            hint=_which_output(answers[0][1]),
        )
    lowest = min(float(output.min()) for _, output in answers)
    if kind == "probabilities" and lowest < 0:
        raise ModelError(
            f"scores is probabilities, and the network returned {lowest:.3g}",
            hint="leave out scores if it returns logits",
        )
    return stride


@dataclass(frozen=True)
class _Trial:
    """Runs the network on a black image."""

    network: nn.Module
    channels: int

    def __call__(self, size: Size) -> Any:
        parameter = next(self.network.parameters(), None)
        device = torch.device("cpu") if parameter is None else parameter.device
        try:
            with torch.inference_mode():
                return self.network(torch.zeros(1, self.channels, *size, device=device))
        except refusals() as error:
            if is_out_of_memory(error):
                raise DeviceError(
                    f"not enough memory on {device} for a {_by(size)} image with in_channels={self.channels}"
                ) from error
            raise


def _smallest(run: _Trial, size: Size | None, step: int) -> tuple[Size, Any]:
    """A size that the network takes, and what it returned for it."""
    edges = [-(-edge // step) * step for edge in _SQUARES]
    squares = [(edge, edge) for edge in edges if size is None or edge <= min(size)]
    sizes = list(dict.fromkeys([*squares, *([size] if size else [])]))
    refusal: Exception | None = None
    for tried in sizes:
        try:
            return tried, run(tried)
        except refusals() as error:
            refusal = error
            wanted = _wanted_channels(error, run.channels, tried)
            if wanted is not None:
                raise ModelError(
                    f"in_channels is {run.channels}, and the network takes {wanted}",
                    hint=f"--in-channels {wanted}",
                ) from error
    assert refusal is not None
    raise ModelError(
        f"with in_channels={run.channels} the network takes no image of {', '.join(map(_by, sizes))}: "
        f"{type(refusal).__name__}: {one_line(refusal)}",
        hint=None if size else "give a size that it takes: --input-size HEIGHT WIDTH",
    ) from refusal


def _at(run: _Trial, size: Size) -> tuple[Size, Any]:
    """What it returned for a size that the user names."""
    try:
        return size, run(size)
    except refusals() as error:
        raise ModelError(
            f"the network takes no image of {_by(size)}: {type(error).__name__}: {one_line(error)}"
        ) from error


def _wanted_channels(error: Exception, given: int, size: Size) -> int | None:
    """The channels that a convolution of the image itself asks for."""
    image = re.escape(f"expected input[1, {given}, {size[0]}, {size[1]}] to have ")
    found = re.search(image + r"(\d+) channels", str(error))
    return None if found is None else int(found[1])


def _larger(run: _Trial, first: Size) -> list[tuple[Size, Any]]:
    """A larger size that the network takes, and what it returned for it; nothing if it takes none.

    It is a multiple of the first, so that a network which needs multiples of a number takes it.
    """
    height, width = first
    for size in ((height, 2 * width), (2 * height, 2 * width)):
        try:
            return [(size, run(size))]
        except refusals():
            continue
    return []


def _which_output(outputs: Any) -> str:
    """What to do about the outputs of a network: the flag that chooses one, with those that may be scores."""
    scores = {name: value for name, value in named_outputs(outputs).items() if _fault(value) is None}
    if not scores and _fault(outputs) is None:
        return "if it is for images of one size, name that: --input-size HEIGHT WIDTH"
    if not scores:
        return "return a module whose forward gives the scores alone"
    first = next(iter(scores))
    listed = ", ".join(f"{name} ({_by(value.shape)})" for name, value in scores.items())
    return f"say which output holds the scores, such as --output-key {first}: {listed}"


def _fault(output: Any) -> str | None:
    """A description of an output that is not scores of one image; ``None``: it may be scores."""
    if isinstance(output, Mapping):
        return f"a dict with the keys {', '.join(map(repr, output))}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    if not isinstance(output, torch.Tensor):
        return f"a {type(output).__name__}"
    if output.dtype != torch.float32:
        return f"{str(output.dtype).removeprefix('torch.')} values"
    if output.dim() != 4 or output.shape[0] != 1:
        return f"a tensor of {_by(output.shape) or 'no dimension'}"
    return None


def _by(shape: Any) -> str:
    return "x".join(map(str, shape))
