"""Compare a file that was just written with the network, at other sizes than it was traced at.

A trace that has frozen a size is right at that size, and fails or is wrong without an error at every other
one. Only a run shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from segplug_torch.errors import one_line

from segplug.engine import Axis, limit_axes
from segplug.errors import ModelError
from segplug.model import InputLimits
from segplug.tracing import TracePlan
from segplug.verification.compare import Pair, compare
from segplug.verification.stability import perturbed_runs

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from segplug.requests import ExportRequest

    Function = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["check_at_inputs", "inputs_for"]

Shape = tuple[int, int, int]
"""Batch, height, width."""

_OTHER_BATCH = 3
"""Neither 1 nor the batch of the trace."""


def inputs_for(plan: TracePlan, limits: InputLimits | None) -> tuple[Shape, ...]:
    """The inputs to compare at: the size that was asked for and, along free axes, others.

    Args:
        plan: Says which axes are free.
        limits: The sizes that the file takes.
    """
    height, width = plan.size
    if not plan.sizes_vary:
        return tuple((batch, height, width) for batch in ((1, _OTHER_BATCH) if plan.free else (1,)))
    rows, columns = limit_axes(Axis(), Axis(), limits)
    larger = _near(rows, height + height // 4 + 3), _near(columns, width + width // 8 + 5)
    smaller = _near(rows, height * 3 // 4 + 1), _near(columns, width // 2 + 1)
    return tuple(dict.fromkeys([(1, height, width), (1, *larger), (_OTHER_BATCH, *smaller)]))


def _near(axis: Axis, wanted: int) -> int:
    """A size near ``wanted`` that the axis takes."""
    size = min(max(wanted, axis.minimum), axis.maximum or wanted + axis.minimum)
    rounded = size - size % axis.multiple_of
    return rounded if axis.accepts(rounded) else rounded + axis.multiple_of


def check_at_inputs(
    request: ExportRequest[Any], candidate: Function, inputs: Sequence[Shape], *, hint: str
) -> None:
    """Compare a file with the network, at the thresholds of fp32.

    Args:
        request: Its model is the reference.
        candidate: The file, opened on the model's device.
        inputs: The inputs to compare at.
        hint: What to do where the two differ.

    Raises:
        ModelError: the file gives other results, or none.
    """
    meta = request.model.meta
    with request.reporter.progress("comparing with the network", len(inputs)) as progress:
        for shape in inputs:
            pairs = _pairs(request, candidate, shape, hint)
            comparison = compare(
                pairs,
                threshold=meta.threshold,
                logits=meta.scores == "logits",
                multilabel=meta.multilabel,
            )
            if not comparison.passed:
                raise ModelError(
                    f"the traced network differs from the original at {_words(shape)}: "
                    f"{comparison.failures[0]}",
                    hint=hint,
                )
            progress.advance()


def _pairs(request: ExportRequest[Any], candidate: Function, shape: Shape, hint: str) -> Iterator[Pair]:
    count, height, width = shape
    size = (count, request.model.meta.in_channels, height, width)
    images = np.random.default_rng(height).standard_normal(size, dtype=np.float32)
    network = partial(_answer, request.model.module, request.model.device)
    expected = network(images)
    try:
        actual = _answer(candidate, request.model.device, images)
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
        raise ModelError(
            f"the traced network fails at {_words(shape)}, and the original does not: {one_line(error)}",
            hint=hint,
        ) from error
    if actual.shape != expected.shape:
        raise ModelError(
            f"at {_words(shape)} the traced network gives {actual.shape}, and the original {expected.shape}",
            hint=hint,
        )
    for one, (reference, answer) in enumerate(zip(expected, actual, strict=True)):
        perturbed = partial(_perturbed, network, images[one : one + 1])
        yield Pair(_words(shape), reference, answer, perturbed=perturbed)


def _answer(function: Function, device: str, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        scores = function(torch.from_numpy(images).to(device))
        result: npt.NDArray[np.float32] = scores.float().cpu().numpy()
    return result


def _perturbed(
    network: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]], image: npt.NDArray[np.float32]
) -> Iterator[npt.NDArray[np.float32]]:
    return perturbed_runs(lambda perturbed: network(perturbed)[0], image)


def _words(shape: Shape) -> str:
    return "x".join(map(str, shape))
