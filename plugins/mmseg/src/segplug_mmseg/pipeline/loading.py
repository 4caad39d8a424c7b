"""The transform that loads images: mmseg's ``LoadImageFromFile``, or one of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from segplug.errors import ModelError
from segplug.preprocessing import Decoding
from segplug_mmseg.pipeline.settings import transform_name

__all__ = ["Loading", "is_mmsegs", "read_loader", "split_loader"]

_LOADER = "LoadImageFromFile"
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


def is_mmsegs(step: Any) -> bool:
    """Whether a transform is one of mmseg's own, and not one of the user's, even under the same name."""
    from mmseg.datasets import PIPELINES

    kind = step["type"] if isinstance(step, dict) else step
    kind = PIPELINES.get(kind) if isinstance(kind, str) else kind
    return str(getattr(kind, "__module__", "")).startswith("mmseg.datasets.pipelines.")


def split_loader(pipeline: Any) -> tuple[Any, list[Any]]:
    """The transform that loads images, and those after it.

    The first transform of a pipeline loads, unless it is one of mmseg's that does something else: then there
    is no loader, ``None``.
    """
    steps = list(pipeline)
    if not steps or (is_mmsegs(steps[0]) and transform_name(steps[0]) != _LOADER):
        return None, steps
    return steps[0], steps[1:]


def read_loader(step: Any) -> Loading:
    """How the transform loads images; ``None``: there is none.

    Raises:
        ModelError: mmcv does not know its settings.
    """
    if step is None:
        return Loading()
    if not is_mmsegs(step):
        return Loading(Decoding(loader=transform_name(step)))
    to_float32 = bool(step.get("to_float32", False))
    backend, color = step.get("imdecode_backend", "cv2"), step.get("color_type", "color")
    if backend is None:
        backend = _global_backend()
    if backend not in _BACKENDS:
        raise ModelError(
            f"{_LOADER} of the test pipeline has imdecode_backend={backend!r}, which is none of "
            f"{', '.join(_BACKENDS)}"
        )
    if backend == "tifffile":  # it ignores color_type
        return Loading(Decoding(library="tifffile", color="unchanged"), to_float32=to_float32)
    known = ("color", "grayscale") if backend == "turbojpeg" else tuple(_COLORS)
    if color not in known:
        raise ModelError(
            f"{_LOADER} of the test pipeline has color_type={color!r}, which is none of {', '.join(known)} "
            f"(imdecode_backend={backend!r})"
        )
    decoding = Decoding(library=_BACKENDS[backend], color=cast(Any, color))
    return Loading(decoding, _COLORS[color], to_float32, how=f"reads images as color_type={color!r}")


def _global_backend() -> str:
    """What a config may have chosen with ``mmcv.use_backend``; ``imresize`` does not follow it."""
    from mmcv.image import io

    return str(io.imread_backend)
