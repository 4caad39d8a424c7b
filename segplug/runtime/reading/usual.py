"""Decode the usual formats with OpenCV, Pillow or libjpeg-turbo, as mmcv does."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError, first_line
from segplug.preprocessing import Decoding
from segplug.runtime.libraries import opencv, pillow, turbojpeg
from segplug.runtime.reading.cost import (
    JPEG_START,
    PNG_START,
    check_jpeg_cost,
    check_png_cost,
    has_jpeg_end,
)
from segplug.runtime.reading.format_names import not_read
from segplug.runtime.reading.limits import MAX_PIXELS, Limits
from segplug.runtime.reading.pixels import mask_missing, plain
from segplug.runtime.reading.tiff_header import TiffHeader, is_tiff, read_header
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["as_mmcv", "check_usual", "decode_usual"]

_ANIMATED = ("GIF", "WEBP")
"""Formats in which a file of several frames is an animation; in others, they are pages or previews."""
_PNG_END = b"IEND\xaeB`\x82"
_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(re.escape(PNG_START)),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
}
_GRAY, _RGB, _YCBCR = 1, 2, 6
"""Photometric interpretations of TIFF whose values a decoder keeps."""


def decode_usual(content: bytes, what: str, decoding: Decoding, limits: Limits) -> npt.NDArray[Any]:
    """Decode with ``decoding.library``; ``bands`` is OpenCV's ``unchanged`` in the order of the file.

    Returns:
        ``(H, W)`` or ``(H, W, C)``, C-contiguous; masked where a GeoTIFF has no data.

    Raises:
        DatasetError: it is damaged, cut off, too large, or nothing that the library reads.
        MissingDependencyError: the library is not installed.
    """
    header = check_usual(content, what, limits)
    if decoding.library == "turbojpeg":
        image = _with_turbojpeg(content, what, decoding)
    elif decoding.library == "pillow":
        image = _with_pillow(content, what, decoding)
    else:
        image = _with_opencv(content, what, decoding, header)
    if header is not None and _keeps_values(header, image, decoding):
        return mask_missing(image, header.nodata)
    return image


def check_usual(content: bytes, what: str, limits: Limits) -> TiffHeader | None:
    """Check that the file is whole, its size, and what decoding costs.

    Formats that Pillow does not know are left to the decoder.

    Returns:
        The header of a TIFF file.

    Raises:
        DatasetError: it is cut off, or damaged.
        TooLargeError: it is too large, or decoding it takes too long.
    """
    if is_tiff(content):
        header = read_header(content, what)
        limits.check(what, (header.height, header.width, header.channels), header.itemsize, resized=True)
        return header
    if _is_cut_off(content):
        raise DatasetError(f"{what} is damaged: the file is cut off")
    known = next((name for name, signature in _SIGNATURES.items() if signature.match(content)), None)
    if limits.edge is not None and known is None:
        formats = ", ".join((*_SIGNATURES, "TIFF", ".npy"))
        raise not_read(content, what, f"and only {formats} are read") or DatasetError(
            f"{what} is damaged, or of no known format: {formats} are"
        )
    width, height = _png_size(content) or _other_size(content, what, known)
    if width and height:
        limits.check(what, (height, width), 1, resized=True)
    elif limits.edge is not None:
        raise DatasetError(f"{what} is damaged")
    if content.startswith(JPEG_START):
        check_jpeg_cost(content, what, width * height, limits)
    elif content.startswith(PNG_START):
        check_png_cost(content, what, limits)
    return None


def _with_opencv(
    content: bytes, what: str, decoding: Decoding, header: TiffHeader | None
) -> npt.NDArray[Any]:
    cv2 = opencv()
    flags = {
        "color": cv2.IMREAD_COLOR,
        "grayscale": cv2.IMREAD_GRAYSCALE,
        "unchanged": cv2.IMREAD_UNCHANGED,
        "color_ignore_orientation": cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR,
        "grayscale_ignore_orientation": cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_GRAYSCALE,
    }
    if header is not None and header.channels > 4:  # OpenCV would say so on the terminal by itself
        raise DatasetError(f"{what} is a TIFF of {counted(header.channels, 'channel')}: OpenCV reads up to 4")
    try:
        flag = flags["unchanged" if decoding.library == "bands" else decoding.color]
        image: Any = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        if decoding.library == "bands" and image is not None and image.ndim == 3:
            if _is_grey_with_alpha(content):  # of which OpenCV makes BGRA
                return np.ascontiguousarray(image[..., [0, 3]])
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    except cv2.error as error:
        raise DatasetError(f"{what} cannot be decoded: {error.err or error}") from error
    if image is None and header is None:
        raise not_read(content, what, "which the installed OpenCV does not read") or DatasetError(
            f"{what} is not an image, or is damaged"
        )
    if image is None:
        assert header is not None
        raise DatasetError(_refused(what, header))
    if header is not None and flag == flags["unchanged"] and image.ndim == 2 and header.channels > 2:
        raise DatasetError(
            f"{what} is a TIFF of {counted(header.channels, 'channel')} of {header.dtype}, of which OpenCV "
            "gives only the first"
        )
    return image  # type: ignore[no-any-return]


def _refused(what: str, header: TiffHeader) -> str:
    values = "unknown values" if header.dtype is None else f"{header.dtype} values"
    return f"{what} is damaged, or OpenCV does not decode a TIFF of {values} in this way"


def _with_pillow(content: bytes, what: str, decoding: Decoding) -> npt.NDArray[Any]:
    Image = pillow()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return as_mmcv(picture, decoding.color)
    except Image.UnidentifiedImageError as error:
        raise not_read(content, what, "which Pillow does not read") or DatasetError(
            f"{what} is not an image that Pillow reads, or is damaged"
        ) from error
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        raise DatasetError(f"{what} cannot be decoded with Pillow: {first_line(error)}") from error


def as_mmcv(picture: Any, color: str) -> npt.NDArray[Any]:
    """The pixels of a Pillow image as ``mmcv.imfrombytes(..., backend="pillow")`` gives them."""
    if color == "unchanged":
        array = plain(np.array(picture))
        if array.ndim == 3 and array.shape[2] >= 3:
            array[..., :3] = array[..., 2::-1].copy()
        return array
    if not color.endswith("_ignore_orientation"):
        from PIL import ImageOps

        picture = ImageOps.exif_transpose(picture)
    if picture.mode == "LA":  # laid over this colour, since black would hide dark objects
        rgba = picture.convert("RGBA")
        picture = pillow().new("RGB", rgba.size, (124, 117, 104))
        picture.paste(rgba, mask=rgba.getchannel("A"))
    elif picture.mode != "RGB":
        picture = picture.convert("RGB")
    if color.startswith("grayscale"):
        return np.array(picture.convert("L"))
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def _with_turbojpeg(content: bytes, what: str, decoding: Decoding) -> npt.NDArray[Any]:
    if not content.startswith(JPEG_START):
        raise DatasetError(f"{what} is no JPEG, which is all that turbojpeg reads")
    if decoding.color not in ("color", "grayscale"):
        raise DatasetError(f"turbojpeg decodes color and grayscale, not {decoding.color}")
    library, decoder = turbojpeg()
    form = library.TJPF_BGR if decoding.color == "color" else library.TJPF_GRAY
    try:
        image: npt.NDArray[Any] = decoder.decode(content, form)
    except Exception as error:
        raise DatasetError(f"{what} is damaged: {first_line(error)}") from error
    return image


def _keeps_values(header: TiffHeader, image: npt.NDArray[Any], decoding: Decoding) -> bool:
    """Whether the pixels have the values of the file, which the nodata value can be compared with."""
    if image.dtype != header.dtype or header.photometric not in (_GRAY, _RGB, _YCBCR):
        return False
    if decoding.library == "bands" or decoding.color == "unchanged" or header.channels == 1:
        return True
    return header.channels == 3 and decoding.color.startswith("color")


def _png_size(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(PNG_START) or len(content) < 24:
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def _is_grey_with_alpha(content: bytes) -> bool:
    """Whether this is a PNG of two channels."""
    return content.startswith(PNG_START) and content[25:26] == b"\x04"


def _other_size(content: bytes, what: str, known: str | None) -> tuple[int, int]:
    Image = pillow()
    try:
        # Choose the format by the signature, as OpenCV does: Pillow alone may choose another one.
        with Image.open(io.BytesIO(content), formats=None if known is None else [known]) as picture:
            size: tuple[int, int] = picture.size
            frames = picture.n_frames if picture.format in _ANIMATED else 1
    except Image.DecompressionBombError:
        return MAX_PIXELS + 1, 1
    except Exception:  # Pillow cannot read it: OpenCV's decoder decides
        return 0, 0
    if frames > 1:
        raise DatasetError(
            f"{what} is an animation of {frames} frames, and an image is expected",
            hint="save the frame that is meant as PNG, or all of them as a video for segplug predict",
        )
    return size


def _is_cut_off(content: bytes) -> bool:
    """Whether a PNG or JPEG ends too early. Older OpenCV fills the rest with grey without an error."""
    if content.startswith(PNG_START):
        return _PNG_END not in content[-1024:] and _PNG_END not in content
    if content.startswith(JPEG_START) and not content.endswith(b"\xff\xd9"):
        return not has_jpeg_end(content)
    return False
