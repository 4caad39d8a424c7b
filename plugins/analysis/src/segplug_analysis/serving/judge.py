"""Which masks are right: against PyTorch, and against one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.verification.stability import MOST_UNSTEADY

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.comparison import Comparison
    from segplug_analysis.serving.masks import Masks
    from segplug_analysis.serving.pictures import Picture
    from segplug_analysis.serving.reference import Expected

__all__ = ["Agreement", "Change", "Judgement", "judge"]


@dataclass(frozen=True)
class Agreement:
    """An image's first mask beside PyTorch's."""

    image: int
    expected: npt.NDArray[Any]
    """PyTorch's labels ``(H, W)``."""
    served: npt.NDArray[Any]
    resized: bool
    """Whether the network's size is not the image's own."""
    comparison: Comparison

    @property
    def differing(self) -> int:
        """Pixels with another label."""
        return int(np.count_nonzero(self.expected != self.served))

    @property
    def firm_differing(self) -> int:
        """Those of them that no rounding explains."""
        firm = self.comparison.pixels * (1 - self.comparison.near_ties)
        return round(firm * (1 - self.comparison.firm_agreement))


@dataclass(frozen=True)
class Change:
    """A mask that the server gave for an image that it had given another mask for."""

    image: int
    place: int
    """Among the masks of the image."""
    differing: int | None
    """Pixels that are not as in the first; ``None``: it has another size."""
    problem: str
    """Why that cannot be; empty where rounding explains it."""


@dataclass(frozen=True)
class Judgement:
    """What became of all masks."""

    agreements: tuple[Agreement, ...]
    """Of each image; empty where PyTorch was not asked."""
    changes: tuple[Change, ...]


def judge(
    pictures: Sequence[Picture], masks: Masks, reference: Callable[[Picture], Expected] | None
) -> Judgement:
    """Look at every mask that came. PyTorch runs once for each image; its logits are not kept."""
    agreements, changes = [], []
    for index, picture in enumerate(pictures):
        first, *others = masks.of(index)
        expected = reference(picture) if reference else None
        if expected is not None:
            compared = expected.compare(first)
            agreements.append(Agreement(index, expected.labels, first, expected.resized, compared))
        for place, mask in enumerate(others, start=1):
            differing = int(np.count_nonzero(mask != first)) if mask.shape == first.shape else None
            problem = _problem(mask, differing, index, pictures, masks, expected)
            changes.append(Change(index, place, differing, problem))
    return Judgement(tuple(agreements), tuple(changes))


def _problem(
    mask: npt.NDArray[Any],
    differing: int | None,
    index: int,
    pictures: Sequence[Picture],
    masks: Masks,
    expected: Expected | None,
) -> str:
    owner = masks.owner(mask, but=index)
    if owner is not None:
        return f"hold the mask of {pictures[owner].name}"
    if differing is None:
        return f"hold a mask of {mask.shape[0]}x{mask.shape[1]} (height x width)"
    if expected is not None:
        return "; ".join(expected.compare(mask).failures)
    # Without PyTorch's margins: what rounding moves in the networks that choose points is less than this.
    if differing > MOST_UNSTEADY * mask.size:
        return f"hold another mask than the first: {differing:,} pixels differ"
    return ""
