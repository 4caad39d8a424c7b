"""Images that a caller has in memory, in the form in which a model's decoder gives them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from segplug.errors import UsageError
from segplug.runtime.libraries import opencv, pillow
from segplug.runtime.reading.pixels import is_number, plain
from segplug.runtime.reading.usual import as_mmcv
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding

__all__ = ["ArrayOrder", "given_image", "is_picture"]

ArrayOrder = Literal["rgb", "bgr"]
"""The order of the colours of an array: ``rgb`` as in Pillow and matplotlib, ``bgr`` as in OpenCV."""

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes of Pillow whose pixels have more than eight bits."""
_OTHER_COLOURS = ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La")
"""Modes of Pillow whose channels are no red, green and blue."""


def given_image(what: Any, decoding: Decoding, *, order: ArrayOrder = "rgb") -> npt.NDArray[Any]:
    """An image in memory as the decoder would have given it.

    A model of 8-bit colours or greys takes both, as it does of files: grey becomes colour, colour grey, and
    transparency is left out. All other models take the channels and values that their files have.

    Args:
        what: A Pillow image, which is turned as its EXIF orientation says where files are; or an array
            ``(H, W, C)`` or ``(H, W)``, which may be masked, or what NumPy makes one of.
        decoding: The model's.
        order: The order of an array's colours.

    Returns:
        ``(H, W, C)``, a new array where anything had to be changed.

    Raises:
        UsageError: it is no image, or not of the kind that the model takes; or there is no such order.
    """
    if order not in get_args(ArrayOrder):
        raise UsageError(f"there is no order of colours {order!r}", hint="rgb or bgr")
    if is_picture(what):
        if decoding.library == "pillow" and decoding.gives_bgr:
            return _with_third_axis(as_mmcv(what, decoding.color))
        image, order = _of_picture(what, decoding), "rgb"
    else:
        image = _of_array(what)
    if not decoding.gives_bgr:
        if order != "rgb":
            raise UsageError("this model takes the channels in the order of its files, not as BGR")
        return image
    if decoding.color != "unchanged":
        return _bytes(image, decoding, order)
    if order == "rgb" and image.shape[2] in (3, 4):
        return _with_channels(image, (2, 1, 0, 3)[: image.shape[2]])
    return image


def is_picture(what: Any) -> bool:
    """Whether this is an image of Pillow's, which is not imported."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(what, pillow.Image)


def _of_picture(picture: Any, decoding: Decoding) -> npt.NDArray[Any]:
    """The pixels of a Pillow image, colours as RGB."""
    if decoding.gives_bgr and decoding.color != "unchanged":
        if not decoding.color.endswith("_ignore_orientation"):
            from PIL import ImageOps

            picture = ImageOps.exif_transpose(picture)
        if picture.mode in _DEEP_MODES:
            raise UsageError(
                f"the image has Pillow's mode {picture.mode}, and the model takes 8-bit pixels",
                hint="give the path of its file, or convert it: picture.convert('RGB')",
            )
        if picture.mode not in ("L", "RGB"):
            picture = picture.convert("L" if picture.mode in ("1", "LA", "La") else "RGB")
    elif picture.mode in _OTHER_COLOURS:
        picture = picture.convert("RGB")
    elif picture.mode == "1":  # black and white are 0 and 255 in files, too
        picture = picture.convert("L")
    return _with_third_axis(plain(np.array(picture)))


def _with_third_axis(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _of_array(what: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = what if isinstance(what, np.ma.MaskedArray) else np.asarray(what)
    if not is_number(array.dtype) or array.ndim == 0:
        raise UsageError(
            f"an image is expected, not {_described(what)}",
            hint="a path, an array (H, W, C), or a Pillow image",
        )
    if array.ndim == 2:
        array = _with_third_axis(array)
    if array.ndim != 3 or not array.size:
        raise UsageError(f"an image is an array (H, W, C), not one of shape {array.shape}")
    if array.shape[0] in (1, 3, 4) and array.shape[2] > 4 and array.shape[1] > 4:
        raise UsageError(
            f"an image is an array (H, W, C), and {array.shape} looks like (C, H, W)",
            hint="image.transpose(1, 2, 0)",
        )
    return array


def _bytes(image: npt.NDArray[Any], decoding: Decoding, order: ArrayOrder) -> npt.NDArray[Any]:
    """8-bit pixels as BGR or grey. A mask stays where it is."""
    if image.dtype != np.uint8:
        raise UsageError(
            f"the model takes 8-bit pixels of 0 to 255, and the array holds {image.dtype}",
            hint=_to_bytes(image),
        )
    channels = image.shape[2]
    if channels not in (1, 3, 4):
        raise UsageError(f"the model takes images of colours or greys, not of {counted(channels, 'channel')}")
    if decoding.color.startswith("grayscale"):
        return image if channels == 1 else _grey(image[:, :, :3], decoding, order)
    if channels == 3 and order == "bgr":
        return image
    return _with_channels(image, (0, 0, 0) if channels == 1 else (2, 1, 0) if order == "rgb" else (0, 1, 2))


def _to_bytes(image: npt.NDArray[Any]) -> str:
    """How an array becomes one of bytes without another picture: a cast cuts or wraps larger values."""
    lowest, highest = float(image.min()), float(image.max())
    if image.dtype.kind == "f" and 0 <= lowest <= highest <= 1:
        return "(image * 255).round().astype('uint8')"
    if 0 <= lowest <= highest <= 255:
        return "image.astype('uint8')" if image.dtype.kind != "f" else "image.round().astype('uint8')"
    return f"its values are {lowest:g} to {highest:g}: scale them as for the images of the training"


def _with_channels(image: npt.NDArray[Any], places: tuple[int, ...]) -> npt.NDArray[Any]:
    chosen: npt.NDArray[Any] = image[:, :, list(places)]
    return chosen if np.ma.isMaskedArray(image) else np.ascontiguousarray(chosen)


def _grey(image: npt.NDArray[Any], decoding: Decoding, order: ArrayOrder) -> npt.NDArray[Any]:
    """The grey of three colours, as the decoder's library rounds it."""
    rgb = np.ascontiguousarray(np.ma.getdata(image)[:, :, :: 1 if order == "rgb" else -1])
    grey: npt.NDArray[Any]
    if decoding.library == "pillow":
        grey = np.array(pillow().fromarray(rgb).convert("L"))[:, :, None]
    else:
        cv2 = opencv()
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None]
    if not np.ma.isMaskedArray(image):
        return grey
    return np.ma.MaskedArray(grey, np.ma.getmaskarray(image).all(axis=2, keepdims=True))


def _described(what: Any) -> str:
    return f"an object of {type(what).__module__}.{type(what).__qualname__}"
