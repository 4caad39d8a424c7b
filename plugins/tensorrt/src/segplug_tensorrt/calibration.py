"""Preprocess the user's images to calibrate int8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.engine import Axis, EngineSpec
from segplug.model import ModelMeta
from segplug.progress import Progress
from segplug.requests import BuildEngineRequest

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["calibration_batches"]


def calibration_batches(
    meta: ModelMeta,
    name: str,
    shape: Sequence[int],
    request: BuildEngineRequest[Any],
    count: int,
    progress: Progress,
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """Preprocessed images, one for each batch; for sliding-window inference, their windows.

    A graph with a fixed batch size gets as many copies of the image.

    Args:
        meta: The model's metadata, with its preprocessing.
        name: The name of the input.
        shape: The graph's input shape, -1 for an axis that varies.
        request: The request with the images.
        count: Take at most this many of them, evenly spread.
        progress: Advances once for each image.
    """
    from segplug.runtime.folder import ImageList
    from segplug.runtime.preprocess import Preprocessor

    height, width = (Axis() if size < 0 else Axis.fixed(size) for size in shape[2:])
    slides = meta.inference.mode == "slide"
    spec = EngineSpec(meta=meta, output="logits", height=height, width=width)
    prepare = Preprocessor(meta, None if slides else spec, request.reporter)
    images = ImageList(list(request.images))
    chosen = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int))
    for index in map(int, chosen):
        image = np.ma.getdata(images.read_image(index, meta.decoding))  # also where pixels have no data
        whole = prepare(image, images.name(index)).array
        for array in _windows(whole, meta) if slides else [whole]:
            yield {name: np.repeat(array[None], max(shape[0], 1), axis=0)}
        progress.advance()


def _windows(array: npt.NDArray[np.float32], meta: ModelMeta) -> Iterator[npt.NDArray[np.float32]]:
    from segplug.runtime.slide import windows

    crop = meta.inference.crop_size or array.shape[1:]
    for place in windows((array.shape[1], array.shape[2]), crop, meta.inference.stride):
        cut = array[:, place.top : place.bottom, place.left : place.right]
        missing = [(0, 0), (0, crop[0] - cut.shape[1]), (0, crop[1] - cut.shape[2])]
        yield np.pad(cut, missing)
