"""What an exporter traces: for which size, with which axes free, within which limits.

Shared by the exporters, so that every format follows an image's size in the same way and says the same
when it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from segplug.engine import Axis, limited
from segplug.errors import ShapeError, UsageError
from segplug.model import InputLimits, ModelMeta
from segplug.requests import ExportRequest

__all__ = ["TracePlan", "export_dimensions", "limits_named", "plan_trace"]

_ANY_SIZE = (512, 768)
"""Where a dynamic model is traced that names no size: unequal sides that most strides divide."""

_LARGE = 480
"""Pixels that each side has at least where free axes are traced."""


@dataclass(frozen=True)
class TracePlan:
    """What to trace, and what the artifact will take. Sizes are (height, width) in pixels."""

    size: tuple[int, int]
    """What is exported for."""
    traced: tuple[int, int]
    """What to trace at: ``size``, or a multiple of it where height and width are free."""
    free: Mapping[int, str]
    """Axes of the input ``(N, 3, H, W)`` that may vary, and their names; empty: none."""
    limits: InputLimits | None = None
    """What the network takes, where height and width vary."""

    @property
    def batch(self) -> int:
        """Images to trace with: one would let a tracer take things for broadcast that are not."""
        return 2 if self.free else 1

    @property
    def sizes_vary(self) -> bool:
        """Whether height and width are free."""
        return 2 in self.free

    @property
    def multiple_of(self) -> int:
        """What free heights and widths are multiples of."""
        return self.limits.multiple_of if self.limits else 1

    def meta(self, request: ExportRequest) -> ModelMeta:
        """The model's metadata with the input size and limits of the artifact."""
        meta = request.loaded.meta
        return meta.replace(
            input_size=(request.shape or meta.input_size) if self.sizes_vary else self.size,
            input_limits=self.limits,
            verification=None,
        )


def plan_trace(request: ExportRequest) -> TracePlan:
    """Decide what to trace for ``request``.

    Raises:
        UsageError: the model says no size and none is given, or it slides a window of another size.
        ShapeError: the network cannot take the size.
    """
    size = _network_size(request)
    if not request.dynamic:
        return TracePlan(size, traced=size, free={})
    limits = request.loaded.input_limits()
    if limits is not None and not _takes(limits, size):
        raise ShapeError(
            f"the network cannot take {size[0]}x{size[1]} images",
            hint=f"it takes {limits}: give another --shape",
        )
    if limits is not None and limits.is_fixed:
        request.reporter.warn(f"the network takes {limits}: the batch alone is free in this file")
        return TracePlan(size, traced=size, free={0: "batch"})
    free = {0: "batch", 2: "height", 3: "width"}
    return TracePlan(size, traced=_generous(size), free=free, limits=limits)


@contextmanager
def limits_named(request: ExportRequest, size: tuple[int, int]) -> Iterator[None]:
    """Add to the network's own words on a size that it does not take those that it does take."""
    try:
        yield
    except ShapeError as error:
        limits = request.loaded.input_limits()
        if limits is None or _takes(limits, size):
            raise
        raise ShapeError(error.message, hint=f"it takes {limits}: give another --shape") from error


def export_dimensions(free: Mapping[int, str], multiple_of: int) -> dict[int, Any]:
    """The free axes as ``torch.export.export`` takes them.

    Args:
        free: The axes of the input that may vary, and their names.
        multiple_of: What free heights and widths are multiples of.

    ``DYNAMIC`` refuses an axis that was fixed and leaves its other conditions to the exporter. Where sizes
    are multiples, that must be said: halving a size and doubling it again gives the same size only then.
    """
    import torch

    return {
        axis: torch.export.Dim.DYNAMIC
        if axis == 0 or multiple_of == 1
        else multiple_of * torch.export.Dim(name)
        for axis, name in free.items()
    }


def _network_size(request: ExportRequest) -> tuple[int, int]:
    """The (height, width) that the network is exported for."""
    meta = request.loaded.meta
    if meta.inference.mode == "slide" and meta.inference.crop_size is not None:
        height, width = meta.inference.crop_size
        if request.shape not in (None, (height, width)):
            raise UsageError(
                f"this model slides a window of {height}x{width}, and the network sees nothing else",
                hint=f"leave --shape away, or give --shape {height} {width}",
            )
        return height, width
    size = request.shape or meta.input_size
    if size is None and request.sample is not None:
        size = (int(request.sample.shape[-2]), int(request.sample.shape[-1]))
    if size is None and request.dynamic:
        size = _ANY_SIZE
    if size is None:
        raise UsageError("the model does not say its input size", hint="give --shape HEIGHT WIDTH")
    if min(size) < 1:
        raise UsageError(f"--shape takes two sizes in pixels, not {size[0]} {size[1]}")
    return size


def _takes(limits: InputLimits, size: tuple[int, int]) -> bool:
    return all(axis.accepts(edge) for axis, edge in zip(limited(Axis(), Axis(), limits), size, strict=True))


def _generous(size: tuple[int, int]) -> tuple[int, int]:
    """A size to trace free axes at: a multiple of ``size``, large, height and width different.

    What happens to be 1 at the traced size (a pooled map, the number of windows) or equal to another
    size would be taken for always so. Multiples keep what the network may ask of its input's size. A
    larger size costs nothing, since no arithmetic is done.
    """
    height, width = (edge * -(-_LARGE // edge) for edge in size)
    return (height, width + size[1]) if height == width else (height, width)
