"""What it means for scores that an artifact takes images of one size only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segplug.runtime.sizes import Size, plan_sizes

if TYPE_CHECKING:
    from segplug.model import ModelMeta
    from segplug.preprocessing import Step

__all__ = ["fixed_size_warning", "only_size"]

_TRIED: Sequence[Size] = ((480, 640), (640, 480), (1024, 2048), (97, 1301), (33, 33))
"""Sizes of images, of several ratios, for which preprocessing is planned."""


def only_size(steps: Sequence[Step]) -> Size | None:
    """The (height, width) that preprocessing gives all images; ``None``: it depends on the image."""
    found = {plan_sizes(steps, size).geometry.network for size in _TRIED}
    return found.pop() if len(found) == 1 else None


def fixed_size_warning(
    meta: ModelMeta, size: Size, *, cure: str = "for its own sizes, export with --dynamic"
) -> str | None:
    """Why an artifact of one size gives other scores than the model itself; ``None``: it does not.

    Args:
        meta: The model's metadata.
        size: The only (height, width) that the artifact takes.
        cure: What to do about it.
    """
    if meta.inference.mode == "slide":  # the size is the window's
        return None
    own = only_size(meta.preprocessing)
    if own == size:
        return None
    given = f"gives {_by(own)}" if own else "gives a size that depends on the image"
    stretched = "images" if own else "images of other sizes"
    return (
        f"the model's preprocessing {given}, and this file takes {_by(size)} (height x width) only: "
        f"{stretched} are stretched, and scores differ from the model's own; {cure}"
    )


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
