"""What a torch.export program says of its input: the channels and sizes of images.

This module imports torch; it is imported when a file is opened, never before.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from segplug.errors import ModelError
from segplug.limits import MOST_PIXELS
from segplug.model import InputLimits

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["ImageInput", "image_input"]


@dataclass(frozen=True)
class ImageInput:
    """The images that a program takes."""

    channels: int
    alone: bool
    """Whether it takes one image at a time."""
    limits: InputLimits | None
    """The sizes; ``None``: any."""


@dataclass(frozen=True)
class _Edges:
    lowest: int
    highest: int | None
    step: int

    @property
    def is_fixed(self) -> bool:
        return self.lowest == self.highest


def image_input(program: ExportedProgram, path: Path) -> ImageInput:
    """The one input of ``program``.

    Raises:
        ModelError: it does not take a batch of float32 images, or sizes that segplug has no words for.
    """
    names = tuple(program.graph_signature.user_inputs)
    values = [
        node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names
    ]
    if len(values) != 1:
        raise ModelError(f"{path} takes {len(values)} inputs, and one is expected: the images")
    image = values[0]
    if not isinstance(image, torch.Tensor) or image.dim() != 4 or image.dtype != torch.float32:
        what = (
            f"{_kind(image)} of {'x'.join(map(str, image.shape))}" if hasattr(image, "shape") else "another"
        )
        raise ModelError(f"{path} takes {what}, and float32 images (N, channels, H, W) are expected")
    batch, channels, height, width = image.shape
    if not isinstance(channels, int):
        raise ModelError(f"{path} leaves the number of channels free, and a fixed one is expected")
    if isinstance(batch, int) and batch != 1:
        raise ModelError(
            f"{path} takes batches of {batch} images only",
            hint="export it with one image, or with a free batch (dynamic_shapes)",
        )
    return ImageInput(channels, isinstance(batch, int), _limits(program, path, height, width))


def _kind(image: torch.Tensor) -> str:
    return str(image.dtype).removeprefix("torch.")


def _limits(program: ExportedProgram, path: Path, height: Any, width: Any) -> InputLimits | None:
    rows, columns = _edges(program, path, height), _edges(program, path, width)
    if not rows.is_fixed and not columns.is_fixed and _symbols(height) & _symbols(width):
        raise ModelError(
            f"{path} takes square images of any size only",
            hint="export it with one size, or with two free ones",
        )
    if rows == columns == _Edges(1, None, 1):
        return None
    step = lcm(*(edges.step for edges in (rows, columns) if not edges.is_fixed), 1)
    bounded = rows.highest is not None or columns.highest is not None
    return InputLimits(
        minimum=(rows.lowest, columns.lowest),
        multiple_of=1 if rows.is_fixed or columns.is_fixed else step,
        maximum=(rows.highest or MOST_PIXELS, columns.highest or MOST_PIXELS) if bounded else None,
    )


def _symbols(size: Any) -> frozenset[Any]:
    return frozenset() if isinstance(size, int) else frozenset(size.node.expr.free_symbols)


def _edges(program: ExportedProgram, path: Path, size: Any) -> _Edges:
    """The sizes of one axis: a number, or a symbol or a multiple of one, with its range."""
    if isinstance(size, int):
        return _Edges(size, size, 1)
    expression = size.node.expr
    symbols: list[Any] = list(expression.free_symbols)
    symbol = symbols[0]
    step = expression.coeff(symbol)
    if len(symbols) != 1 or not step.is_Integer or expression != step * symbol:
        raise ModelError(
            f"{path} takes sizes of the form {expression}, for which segplug has no words",
            hint="export it with other dynamic_shapes, or one size",
        )
    ends = program.range_constraints[symbol]
    lowest = int(ends.lower) if ends.lower.is_Integer else 1
    highest = int(ends.upper) if ends.upper.is_Integer else None
    # An axis without conditions begins at 2: torch.export assumes that nothing that varies is 1.
    lowest = 1 if lowest <= 2 else lowest
    return _Edges(int(step) * lowest, None if highest is None else int(step) * highest, int(step))
