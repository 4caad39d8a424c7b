"""What the shapes of a graph show: the layout of its images, and the stride of its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.strides import common_stride
from segplug_onnx.tensors import Tensors

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Layout", "find_layout", "find_stride"]

Size = tuple[int, int]
"""(height, width)."""

_SQUARES = (64, 128, 256, 512)
"""Sizes to try where a graph takes any, the smallest that it takes."""


@dataclass(frozen=True)
class Layout:
    """Where the channels of an input are, and how many."""

    channels: int
    last: bool
    """``(N, H, W, C)``, not ``(N, C, H, W)``."""


def find_layout(shape: Sequence[Any], channels: int | None) -> Layout | None:
    """The layout of an input.

    Args:
        shape: Four sizes; those that are no numbers are free.
        channels: Their number, where it is known. ``None``: an axis with fewer entries than the two of the
            image has them.

    Returns:
        ``None``: neither axis can hold the channels, or either can.
    """
    _, first, middle, last = (size if isinstance(size, int) and size > 0 else None for size in shape)
    if channels is None:
        if first is not None and all(first < size for size in (middle, last) if size is not None):
            return Layout(first, last=False)
        if last is not None and all(last < size for size in (first, middle) if size is not None):
            return Layout(last, last=True)
        return None
    if first in (channels, None):
        return Layout(channels, last=False)
    return Layout(channels, last=True) if last == channels else None


def find_stride(
    tensors: Tensors,
    channels: int,
    shapes: tuple[Sequence[Any], Sequence[Any]],
    session: Callable[[], onnxruntime.InferenceSession],
) -> int | None:
    """The stride of a graph's scores: from its shapes or, where they are free, from runs on black images.

    Args:
        tensors: The input and the output.
        channels: Channels of the images.
        shapes: Of the input and the output, as the graph states them.
        session: Opens the graph on the CPU.

    Returns:
        ``None``: the sizes of the scores follow no stride, or no run succeeded.
    """
    count, height, width = tensors.axes(shapes[0])
    rows, columns = tensors.scores_axes(shapes[1])
    if height.is_fixed and width.is_fixed and rows.is_fixed and columns.is_fixed:
        return common_stride([((height.minimum, width.minimum), (rows.minimum, columns.minimum))])
    run = _Trial(session(), tensors, (count.minimum, channels))
    fixed = (height.minimum if height.is_fixed else None, width.minimum if width.is_fixed else None)
    for edge in _SQUARES:
        if run(_filled(fixed, (edge, edge))) is not None:
            sizes = {
                _filled(fixed, size) for size in ((edge, edge), (edge, 2 * edge), (edge + 1, 2 * edge + 3))
            }
            return common_stride(run.found(sizes))
    return None


def _filled(fixed: tuple[int | None, int | None], size: Size) -> Size:
    return fixed[0] or size[0], fixed[1] or size[1]


@dataclass(frozen=True)
class _Trial:
    session: onnxruntime.InferenceSession
    tensors: Tensors
    leading: tuple[int, int]
    """Batch and channels."""

    def __call__(self, size: Size) -> Size | None:
        """The size of the scores for an input of ``size``; ``None``: it is not taken."""
        import numpy as np

        tensors = self.tensors
        batch = tensors.to_input(np.zeros((*self.leading, *size), np.float32))
        try:
            (output,) = self.session.run([tensors.output], {tensors.input: batch})
        except Exception:  # of ONNX Runtime, which has no common class for them
            return None
        rows, columns = tensors.scores(output).shape[2:]
        return rows, columns

    def found(self, sizes: set[Size]) -> Iterator[tuple[Size, Size]]:
        """The sizes that are taken, each with that of its scores."""
        for size in sizes:
            scores = self(size)
            if scores is not None:
                yield size, scores
