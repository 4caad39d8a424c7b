"""Pixels that the reference itself does not hold: rounding of its input alone moves them.

Some networks choose: PointRend refines the few thousand most uncertain points, and which point is the last of
them can hang on the last bit of a number. Two right runs then differ visibly in a pixel or two, on PyTorch
alone as well. No artifact can be held to such a pixel. Everywhere else the reference is steady, and a wrong
artifact cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Logits = npt.NDArray[np.float32]

__all__ = ["MOST_UNSTEADY", "find_unsteady", "nudged_runs"]

MOST_UNSTEADY = 1e-3
"""Share of an input's pixels that may be left out; a network that moves more is compared as it is."""

_NUDGE = 2.0**-22
"""What each input value is changed by, at most, as a share of itself: four roundings of a float32."""

_TRIES = 32
"""A pair of points at the edge of a choice changes places in about every second to tenth run."""


def nudged_runs(run: Callable[[Logits], Logits], batch: Logits) -> Iterator[Logits]:
    """``run`` again and again, on ``batch`` changed by no more than rounding; seeded."""
    for seed in range(_TRIES):
        nudge = np.random.default_rng(seed).uniform(-_NUDGE, _NUDGE, size=batch.shape)
        yield run((batch * (1.0 + nudge)).astype(np.float32, copy=False))


def find_unsteady(
    reference: Logits, runs: Iterator[Logits], suspects: npt.NDArray[np.bool_], allowed: float
) -> npt.NDArray[np.bool_] | None:
    """Which pixels of the reference move by more than half of what an artifact is allowed.

    Args:
        reference: Its logits ``(C, H, W)``.
        runs: Its logits on inputs changed by rounding alone; taken until every suspect has moved.
        suspects: ``(H, W)``, where the artifact differs by too much.
        allowed: What a logit may differ by.

    Returns:
        ``(H, W)``; ``None`` if there are more than ``MOST_UNSTEADY``, or more suspects than that: a file
        that is wrong all over is not worth a run.
    """
    if suspects.mean() > MOST_UNSTEADY:
        return None
    unsteady = np.zeros(suspects.shape, dtype=bool)
    for again in runs:
        for plane, other in zip(reference, again, strict=True):
            unsteady |= np.abs(plane - other) > allowed / 2
        if unsteady.mean() > MOST_UNSTEADY:
            return None
        if not (suspects & ~unsteady).any():
            break
    return unsteady
