"""The result of a conversion to another precision."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

__all__ = ["Converted"]


@dataclass(frozen=True)
class Converted:
    """A graph of another precision, with unchanged input and output."""

    model: onnx.ModelProto
    sensitive: tuple[str, ...]
    """Names of the nodes that stay in fp32 because they would magnify rounding errors."""
    out_of_range: tuple[str, ...] = ()
    """Names of the nodes that stay in fp32 because one of their constants is out of the type's range."""
    not_quantised: tuple[str, ...] = ()
    """Names of the other layers that int8 leaves in fp32: the classifier, depthwise convolutions."""
