"""Check the masks of a server: against PyTorch, and against one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.verification.stability import MAX_UNSTABLE

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.comparison import Comparison
    from segplug_analysis.serving.masks import Masks
    from segplug_analysis.serving.pictures import Picture
    from segplug_analysis.serving.reference import Expected

__all__ = ["Agreement", "Change", "MaskChecks", "check_masks"]


@dataclass(frozen=True)
class Agreement:
    """An image's first mask compared with PyTorch's."""

    image: int
    expected: npt.NDArray[Any]
    """PyTorch's labels ``(H, W)``."""
    served: npt.NDArray[Any]
    resized: bool
    """Whether the image is resized for the network."""
    comparison: Comparison

    @property
    def differing(self) -> int:
        """How many pixels have another label."""
        return int(np.count_nonzero(self.expected != self.served))

    @property
    def firm_differing(self) -> int:
        """How many of them rounding cannot explain."""
        firm = self.comparison.pixels * (1 - self.comparison.near_ties)
        return round(firm * (1 - self.comparison.firm_agreement))


@dataclass(frozen=True)
class Change:
    """A mask that is not the first one of its image."""

    image: int
    position: int
    """Its position among the masks of the image."""
    differing: int | None
    """Pixels that differ from the first mask; ``None``: it has another size."""
    problem: str
    """What is wrong with it; empty where rounding explains the difference."""


@dataclass(frozen=True)
class MaskChecks:
    """The results for all masks."""

    agreements: tuple[Agreement, ...]
    """One for each image; empty if nothing is compared with PyTorch."""
    changes: tuple[Change, ...]


def check_masks(
    pictures: Sequence[Picture], masks: Masks, reference: Callable[[Picture], Expected] | None
) -> MaskChecks:
    """Check every mask. PyTorch runs once for each image; its logits are not kept."""
    agreements, changes = [], []
    for index, picture in enumerate(pictures):
        first, *others = masks.of(index)
        expected = reference(picture) if reference else None
        if expected is not None:
            compared = expected.compare(first)
            agreements.append(Agreement(index, expected.labels, first, expected.resized, compared))
        for position, mask in enumerate(others, start=1):
            differing = int(np.count_nonzero(mask != first)) if mask.shape == first.shape else None
            problem = _problem(mask, differing, index, pictures, masks, expected)
            changes.append(Change(index, position, differing, problem))
    return MaskChecks(tuple(agreements), tuple(changes))


def _problem(
    mask: npt.NDArray[Any],
    differing: int | None,
    index: int,
    pictures: Sequence[Picture],
    masks: Masks,
    expected: Expected | None,
) -> str:
    owner = masks.owner(mask, without=index)
    if owner is not None:
        return f"have the mask of {pictures[owner].name}"
    if differing is None:
        return f"have a mask of {mask.shape[0]}x{mask.shape[1]} (height x width)"
    if expected is not None:
        return "; ".join(expected.compare(mask).failures)
    # Without PyTorch's logits. In networks that choose points, rounding changes fewer labels than this.
    if differing > MAX_UNSTABLE * mask.size:
        return f"have another mask than the first: {differing:,} pixels differ"
    return ""
