"""The size of a network's scores: the input's, divided by one whole number and rounded up."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["common_stride", "scores_size"]

Size = tuple[int, int]
"""(height, width)."""


def scores_size(size: Size, stride: int) -> Size:
    """The (height, width) of scores for an input of ``size``."""
    return -(-size[0] // stride), -(-size[1] // stride)


def common_stride(sizes: Iterable[tuple[Size, Size]]) -> int | None:
    """The stride with which the scores of several inputs have their sizes.

    Args:
        sizes: At least one input's (height, width), each with that of its scores.

    Returns:
        ``None`` if there is no such stride. If small maps leave a choice, one that divides every input
        evenly, else the smallest.
    """
    pairs = list(sizes)
    strides = [
        stride
        for stride in range(1, min(edge for size, _ in pairs for edge in size) + 1)
        if all(scores_size(size, stride) == scores for size, scores in pairs)
    ]
    edges = [edge for size, _ in pairs for edge in size]
    return min(strides, key=lambda stride: (any(edge % stride for edge in edges), stride), default=None)
