"""Plan the tracing of an export: the input size, the free axes and their limits.

All exporters share this, so that every format handles sizes in the same way, with the same errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from segplug.engine import Axis, limit_axes
from segplug.errors import ShapeError, UsageError
from segplug.limits import why_no_input
from segplug.model import InputLimits, ModelMeta
from segplug.requests import ExportRequest

__all__ = ["TracePlan", "explain_size_errors", "export_dimensions", "plan_trace"]

_ANY_SIZE = (512, 768)
"""Size to trace a dynamic model at that names none: most strides divide it, and the sides differ."""

_LARGE = 480
"""Smallest side at which free axes are traced. Pixels."""


@dataclass(frozen=True)
class TracePlan:
    """How to trace, and which sizes the artifact will take. Sizes are (height, width) in pixels."""

    size: tuple[int, int]
    """The size that the user exports for."""
    traced: tuple[int, int]
    """The size to trace at: ``size``, or a multiple of it if height and width are free."""
    free: Mapping[int, str]
    """Axes of the input ``(N, 3, H, W)`` that may vary, and their names; empty: none."""
    limits: InputLimits | None = None
    """The sizes that the network takes, if height and width are free."""

    @property
    def batch(self) -> int:
        """Batch size to trace with: with one image, a tracer could mistake the batch axis for a broadcast."""
        return 2 if self.free else 1

    @property
    def sizes_vary(self) -> bool:
        """Whether height and width are free."""
        return 2 in self.free

    @property
    def multiple_of(self) -> int:
        """Free heights and widths must be multiples of this."""
        return self.limits.multiple_of if self.limits else 1

    def meta(self, request: ExportRequest[Any]) -> ModelMeta:
        """The model's metadata with the input size and limits of the artifact."""
        meta = request.model.meta
        return meta.replace(
            input_size=(request.shape or meta.input_size) if self.sizes_vary else self.size,
            input_limits=self.limits,
            verification=None,
        )


def plan_trace(request: ExportRequest[Any]) -> TracePlan:
    """Decide what to trace for ``request``.

    Raises:
        UsageError: neither the model nor the user gives a size, or the sliding window has another size.
        ShapeError: the network cannot take the size.
    """
    size = _network_size(request)
    if reason := why_no_input(size, channels=request.model.meta.in_channels):
        raise UsageError(reason, hint="give a smaller --shape")
    if not request.dynamic:
        return TracePlan(size, traced=size, free={})
    with request.reporter.progress("finding the sizes that the network takes", None):
        limits = request.model.input_limits()
    if limits is not None and not _takes(limits, size):
        raise ShapeError(
            f"the network cannot take {size[0]}x{size[1]} images",
            hint=f"it takes {limits}: give another --shape",
        )
    if limits is not None and limits.is_fixed:
        request.reporter.warn(f"the network takes {limits}: only the batch axis is free in this file")
        return TracePlan(size, traced=size, free={0: "batch"})
    free = {0: "batch", 2: "height", 3: "width"}
    return TracePlan(size, traced=_tracing_size(size), free=free, limits=limits)


@contextmanager
def explain_size_errors(request: ExportRequest[Any], size: tuple[int, int]) -> Iterator[None]:
    """If the network refuses a size, add to its error the sizes that it takes."""
    try:
        yield
    except ShapeError as error:
        limits = request.model.input_limits()
        if limits is None or _takes(limits, size):
            raise
        raise ShapeError(error.message, hint=f"it takes {limits}: give another --shape") from error


def export_dimensions(free: Mapping[int, str], multiple_of: int) -> dict[int, Any]:
    """The free axes as ``torch.export.export`` takes them.

    Args:
        free: The axes of the input that may vary, and their names.
        multiple_of: Free heights and widths must be multiples of this.

    ``DYNAMIC`` raises if the network fixes the axis, and leaves other conditions to the exporter. Multiples
    must be declared: only then does the exporter know that halving and doubling a size restores it.
    """
    import torch

    return {
        axis: torch.export.Dim.DYNAMIC
        if axis == 0 or multiple_of == 1
        else multiple_of * torch.export.Dim(name)
        for axis, name in free.items()
    }


def _network_size(request: ExportRequest[Any]) -> tuple[int, int]:
    """The (height, width) that the network is exported for."""
    meta = request.model.meta
    if meta.inference.mode == "slide" and meta.inference.crop_size is not None:
        height, width = meta.inference.crop_size
        if request.shape not in (None, (height, width)):
            raise UsageError(
                f"this model uses a sliding window: the exported input is the window, {height}x{width}",
                hint="leave out --shape",
            )
        return height, width
    size = request.shape or meta.input_size
    if size is None and request.sample is not None:
        size = (int(request.sample.shape[-2]), int(request.sample.shape[-1]))
    if size is None and request.dynamic:
        size = _ANY_SIZE
    if size is None:
        raise UsageError(
            "the model does not say its input size",
            hint="give --shape HEIGHT WIDTH, or --input-img IMAGE, or --dynamic for any size",
        )
    if min(size) < 1:
        raise UsageError(f"--shape takes two sizes in pixels, not {size[0]} {size[1]}")
    return size


def _takes(limits: InputLimits, size: tuple[int, int]) -> bool:
    return all(
        axis.accepts(edge) for axis, edge in zip(limit_axes(Axis(), Axis(), limits), size, strict=True)
    )


def _tracing_size(size: tuple[int, int]) -> tuple[int, int]:
    """A size to trace free axes at: a multiple of ``size``, large, with different height and width.

    If a size inside the network (a pooled map, the number of windows) is 1 while tracing, or equal to another
    one, the exporter takes it for a constant, or for always equal. A multiple of ``size`` meets the network's
    conditions for its input size. A larger size costs nothing, since no arithmetic is done.
    """
    height, width = (edge * -(-_LARGE // edge) for edge in size)
    return (height, width + size[1]) if height == width else (height, width)
