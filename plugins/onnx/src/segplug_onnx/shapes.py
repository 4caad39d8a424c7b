"""What the shapes of a graph show: the layout of its images, and the stride of its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from segplug.strides import common_stride
from segplug_onnx.tensors import Tensors

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnxruntime

__all__ = ["Layout", "find_stride", "fitting_layouts", "layouts_that_run"]

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


def fitting_layouts(shape: Sequence[Any], channels: int | None, last: bool | None = None) -> list[Layout]:
    """The layouts that an input can have.

    Args:
        shape: Four sizes; those that are no numbers are free.
        channels: Their number, where it is known. ``None``: an axis with fewer entries than the two of the
            image has them.
        last: Whether the channels are the last axis, where it is known.

    Returns:
        None: neither axis can hold the channels, or their number is not known. Two: either can.
    """
    _, *axes = (size if isinstance(size, int) and size > 0 else None for size in shape)
    ends = {False: axes[0], True: axes[2]}
    allowed = [side for side in ends if last in (None, side)]
    smaller = [
        Layout(size, last=side)
        for side in allowed
        if (size := ends[side]) is not None
        and all(size < other for other in (axes[1], ends[not side]) if other is not None)
    ]
    if channels is None:
        known = ends[last] if last is not None else None
        return smaller if known is None else [Layout(known, last=bool(last))]
    if Layout(channels, last=bool(smaller and smaller[0].last)) in smaller:
        return smaller
    return [Layout(channels, last=side) for side in allowed if ends[side] in (channels, None)]


def layouts_that_run(
    layouts: Sequence[Layout],
    tensors: Tensors,
    shape: Sequence[Any],
    session: onnxruntime.InferenceSession,
) -> list[Layout]:
    """The layouts in which a graph takes a small black image.

    If it takes it in both, those whose output has the image's height and width, divided by one stride.

    Args:
        layouts: Those that its shape allows.
        tensors: The input and the output; their layout does not count.
        shape: Of the input, as the graph states it.
        session: The graph on the CPU.
    """
    trials = {layout: _trial(layout, tensors, shape, session) for layout in layouts}
    runs: list[Layout] = []
    for edge in _SQUARES:
        size = (edge, edge * 3 // 2)
        if layouts[0].channels in size:
            continue  # the channels would pass for an edge of the image
        results = {}
        for layout, (trial, fixed) in trials.items():
            filled = _filled(fixed, size)
            output = trial.output(filled)
            if output is not None:
                results[layout] = (filled, trial.size_of(output))
        fitting = [
            layout
            for layout, (taken, found) in results.items()
            if found is not None and (taken == found if tensors.labels else common_stride([(taken, found)]))
        ]
        runs = fitting if len(results) > 1 and fitting else list(results)
        if runs:
            break
    return runs


def _trial(
    layout: Layout, tensors: Tensors, shape: Sequence[Any], session: onnxruntime.InferenceSession
) -> tuple[_Trial, tuple[int | None, int | None]]:
    """Runs in a layout, and the height and width that are fixed in it."""
    tensors = replace(tensors, channels_last=layout.last)
    count, height, width = tensors.axes(shape)
    fixed = (height.minimum if height.is_fixed else None, width.minimum if width.is_fixed else None)
    return _Trial(session, tensors, (count.minimum, layout.channels)), fixed


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
        output = self.output(size)
        if output is None:
            return None
        rows, columns = self.tensors.scores(output).shape[2:]
        return rows, columns

    def output(self, size: Size) -> npt.NDArray[Any] | None:
        """The output for a black image of ``size``; ``None``: it is not taken."""
        import numpy as np

        tensors = self.tensors
        batch = tensors.to_input(np.zeros((*self.leading, *size), np.float32))
        try:
            (output,) = self.session.run([tensors.output], {tensors.input: batch})
        except Exception:  # of ONNX Runtime, which has no common class for them
            return None
        return output  # type: ignore[no-any-return]

    def size_of(self, output: npt.NDArray[Any]) -> Size | None:
        """(Height, width) of an output of scores or labels; ``None``: it is no map."""
        shape = output.shape
        if len(shape) not in (3, 4):
            return None
        last = shape[-1] == 1 if self.tensors.labels else self.tensors.channels_last
        rows, columns = shape[1:3] if last and len(shape) == 4 else shape[-2:]
        return rows, columns

    def found(self, sizes: set[Size]) -> Iterator[tuple[Size, Size]]:
        """The sizes that are taken, each with that of its scores."""
        for size in sizes:
            scores = self(size)
            if scores is not None:
                yield size, scores
