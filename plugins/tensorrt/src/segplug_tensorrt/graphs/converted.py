"""What comes out of a conversion, whatever the precision."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

__all__ = ["Converted"]


@dataclass(frozen=True)
class Converted:
    """A graph of another precision, its input and output as they were."""

    model: onnx.ModelProto
    sensitive: tuple[str, ...]
    """Names of the nodes that stay in fp32 since they would magnify rounding."""
    out_of_range: tuple[str, ...] = ()
    """Names of the nodes that stay in fp32 since a constant of theirs is beyond the type's range."""
    apart: tuple[str, ...] = ()
    """Names of the layers that stay in floating point for other reasons: the classifier, depthwise ones."""
