"""Unstable pixels: rounding errors in the input alone change the reference's own logits there.

Some networks select points: PointRend refines the few thousand most uncertain ones, and the last bit of a
number can decide which point is the last one selected. Two correct runs then differ visibly in a pixel or
two, also PyTorch against PyTorch. Such pixels are left out of a comparison. Everywhere else the reference is
stable, and an error of the artifact is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Logits = npt.NDArray[np.float32]

__all__ = ["MAX_UNSTABLE", "find_unstable", "perturbed_runs"]

MAX_UNSTABLE = 1e-3
"""Largest share of an input's pixels that may be left out. If more are unstable, none is left out."""

_PERTURBATION = 2.0**-22
"""Largest relative change of an input value: as much as four roundings of a float32."""

_MAX_RUNS = 32
"""Two points that are equally uncertain swap their ranks in about every second to tenth run."""


def perturbed_runs(run: Callable[[Logits], Logits], batch: Logits) -> Iterator[Logits]:
    """The outputs of ``run`` on ``batch`` with random changes as small as rounding errors; seeded."""
    for seed in range(_MAX_RUNS):
        change = np.random.default_rng(seed).uniform(-_PERTURBATION, _PERTURBATION, size=batch.shape)
        yield run((batch * (1.0 + change)).astype(np.float32, copy=False))


def find_unstable(
    reference: Logits, runs: Iterator[Logits], suspects: npt.NDArray[np.bool_], allowed: float
) -> npt.NDArray[np.bool_] | None:
    """Find the pixels where the reference changes by more than half of the difference an artifact may have.

    Args:
        reference: The reference's logits ``(C, H, W)``.
        runs: Its logits on perturbed inputs (:func:`perturbed_runs`); taken until every suspect is unstable.
        suspects: ``(H, W)``: the artifact differs by too much there.
        allowed: The largest difference that a logit may have.

    Returns:
        ``(H, W)``; ``None`` if the share of unstable pixels, or already that of suspects, is above
        ``MAX_UNSTABLE``: for an artifact that is wrong everywhere the reference does not run again.
    """
    if suspects.mean() > MAX_UNSTABLE:
        return None
    unstable = np.zeros(suspects.shape, dtype=bool)
    for again in runs:
        for plane, other in zip(reference, again, strict=True):
            unstable |= np.abs(plane - other) > allowed / 2
        if unstable.mean() > MAX_UNSTABLE:
            return None
        if not (suspects & ~unstable).any():
            break
    return unstable
