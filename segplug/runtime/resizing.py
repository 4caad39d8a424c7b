"""Resize images with the algorithm that a step names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError, MissingDependencyError
from segplug.runtime import pillow_form, torchvision_form
from segplug.runtime.libraries import opencv, pillow
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Resize
    from segplug.runtime.sizes import Size

__all__ = ["resize_image"]

_OPENCV = {
    "nearest": "INTER_NEAREST",
    "bilinear": "INTER_LINEAR",
    "bicubic": "INTER_CUBIC",
    "area": "INTER_AREA",
    "lanczos": "INTER_LANCZOS4",
}

_OPENCV_TYPES = ("uint8", "uint16", "int16", "float32", "float64")
"""Types that OpenCV resizes with every filter."""

_OPENCV_CHANNELS = 64
"""Channels that are passed to OpenCV at a time where it refuses all of them: OpenCV 5 takes up to 128."""


def resize_image(image: npt.NDArray[Any], size: Size, step: Resize, name: str) -> npt.NDArray[Any]:
    """Resize an image.

    Args:
        image: ``(H, W, C)`` of any type.
        size: The new (height, width).
        step: Names algorithm and filter.
        name: The name of the image in messages.

    Returns:
        ``(height, width, C)`` of the same type; the image itself if it has this size already.

    Raises:
        DatasetError: the algorithm does not take images of this type.
    """
    if image.shape[:2] == size:
        return image
    if step.algorithm == "opencv":
        return _with_opencv(image, size, step.filter, name)
    if image.dtype not in (np.uint8, np.float32):
        raise DatasetError(
            f"the image {name} is {image.dtype}, but Pillow's resize is for uint8 and float32",
            hint="the model needs 8-bit or float32 images",
        )
    if step.algorithm == "torchvision":
        return _like_torchvision(image, size, step.filter)
    return _with_pillow(image, size, step.filter)


def _with_opencv(image: npt.NDArray[Any], size: Size, filter_name: str, name: str) -> npt.NDArray[Any]:
    cv2 = opencv()
    interpolation = getattr(cv2, _OPENCV[filter_name])
    channels = image.shape[2]
    # All channels in one call, as the frameworks do: for floats, OpenCV's sums depend on their number.
    step = channels if channels <= 2 * _OPENCV_CHANNELS else _OPENCV_CHANNELS
    try:
        parts = [
            cv2.resize(
                np.ascontiguousarray(image[:, :, first : first + step]),
                size[::-1],
                interpolation=interpolation,
            )
            for first in range(0, channels, step)
        ]
    except cv2.error as error:
        raise DatasetError(
            f"OpenCV cannot resize the image {name}, {image.dtype} with {counted(channels, 'channel')}: "
            f"{error.err or error}",
            hint=None if image.dtype.name in _OPENCV_TYPES else f"it takes {', '.join(_OPENCV_TYPES)}",
        ) from error
    parts = [part.reshape(*size, -1) for part in parts]  # OpenCV drops a single channel
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _like_torchvision(image: npt.NDArray[Any], size: Size, filter_name: str) -> npt.NDArray[Any]:
    if filter_name == "nearest":
        return torchvision_form.resize_nearest(image, size)
    if image.dtype == np.uint8:
        return torchvision_form.resize(image, size, filter_name)
    image = _with_pillow(image, (image.shape[0], size[1]), filter_name)  # columns first, as torchvision
    return _with_pillow(image, size, filter_name)


def _with_pillow(image: npt.NDArray[Any], size: Size, filter_name: str) -> npt.NDArray[Any]:
    try:
        Image = pillow()
    except MissingDependencyError:
        return pillow_form.resize(image, size, filter_name)
    resample = Image.Resampling[filter_name.upper()]
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).resize(size[::-1], resample))
    # One plane at a time: an alpha channel would be multiplied into the colours.
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size[::-1], resample))
        for plane in image.transpose(2, 0, 1)
    ]
    return np.stack(planes, axis=2)
