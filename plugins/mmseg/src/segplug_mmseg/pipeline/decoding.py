"""How ``LoadImageFromFile`` decodes: one class in all generations, with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from segplug.errors import ModelError
from segplug.preprocessing import Decoding

__all__ = ["LOADER", "Loading", "read_decoding"]

LOADER = "LoadImageFromFile"
_COLORS = {
    "color": 3,
    "color_ignore_orientation": 3,
    "grayscale": 1,
    "grayscale_ignore_orientation": 1,
    "unchanged": None,
}
"""What mmcv's ``color_type`` can be, and how many channels it gives."""

Library = Literal["opencv", "pillow", "turbojpeg", "tifffile"]
_BACKENDS: dict[str, Library] = {
    "cv2": "opencv",
    "pillow": "pillow",
    "turbojpeg": "turbojpeg",
    "tifffile": "tifffile",
}


@dataclass(frozen=True)
class Loading:
    """How images are loaded."""

    decoding: Decoding | None = None
    """``None``: nothing says it."""
    channels: int | None = None
    """``None``: those of the file."""
    to_float32: bool = False
    how: str = ""
    """What decides the channels, for messages."""


def read_decoding(step: Mapping[str, Any], usual_backend: str) -> Loading:
    """The settings of a ``LoadImageFromFile``.

    Args:
        step: Its settings.
        usual_backend: What its ``imdecode_backend=None`` stands for.

    Raises:
        ModelError: mmcv does not know its settings.
    """
    to_float32 = bool(step.get("to_float32", False))
    backend, color = step.get("imdecode_backend", "cv2"), step.get("color_type", "color")
    if backend is None:
        backend = usual_backend
    if backend not in _BACKENDS:
        raise ModelError(
            f"{LOADER} of the test pipeline has imdecode_backend={backend!r}, which is none of "
            f"{', '.join(_BACKENDS)}"
        )
    if backend == "tifffile":  # it ignores color_type
        return Loading(Decoding(library="tifffile", color="unchanged"), to_float32=to_float32)
    known = ("color", "grayscale") if backend == "turbojpeg" else tuple(_COLORS)
    if color not in known:
        raise ModelError(
            f"{LOADER} of the test pipeline has color_type={color!r}, which is none of {', '.join(known)} "
            f"(imdecode_backend={backend!r})"
        )
    decoding = Decoding(library=_BACKENDS[backend], color=cast(Any, color))
    return Loading(decoding, _COLORS[color], to_float32, how=f"reads images as color_type={color!r}")
