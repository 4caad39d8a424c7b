"""Name what a file is that is no image of the usual formats, so that an error can say it."""

from __future__ import annotations

import re

from segplug.errors import DatasetError

__all__ = ["named_format", "not_read"]

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"RIFF....WEBP", "a WebP image"),
    (rb"BM....\x00\x00\x00\x00", "a BMP image"),
    (rb"GIF8[79]a", "a GIF image"),
    (rb"....ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)", "a HEIC image"),
    (rb"....ftypavi[fs]", "an AVIF image"),
    (rb"....ftypcrx ", "a raw photo of a camera"),
    (rb"....ftyp", "an MP4 or QuickTime video"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "a JPEG XL image"),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (rb"RIFF....AVI ", "an AVI video"),
    (rb"P[1-7]\s", "a netpbm image"),
    (rb"v/1\x01", "an OpenEXR image"),
    (rb"#\?RADIANCE", "a Radiance HDR image"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\x00\x00\x01\x00", "an icon"),
    (rb"%PDF-", "a PDF document"),
    (rb".{128}DICM", "a DICOM image"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (rb"\x93NUMPY", "an array of NumPy"),
    (rb"PK\x03\x04", "a zip file"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"\s*<svg|\s*<\?xml[^>]*>\s*(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "an SVG drawing"),
    (rb"\s*<(!doctype )?html", "a web page"),
)
"""What files begin with; the first that fits counts."""
_FORMATS = tuple((re.compile(start, re.DOTALL | re.IGNORECASE), name) for start, name in _BEGINNINGS)

_READ = ("a JPEG image", "a PNG image", "a WebP image", "a BMP image")
"""What every decoder reads: such a file is damaged."""
_LOOKED_AT = 512
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def named_format(content: bytes) -> str:
    """What a file is by its first bytes, with its article: ``a HEIC image``; empty: not known."""
    start = content[:_LOOKED_AT]
    for pattern, name in _FORMATS:
        if pattern.match(start):
            return name
    return "text" if start and not _NO_TEXT.search(start) and _is_utf8(start) else ""


def not_read(content: bytes, what: str, why: str) -> DatasetError | None:
    """The error for a file of another format, which is named; ``None``: it is of a format that is read.

    Args:
        content: The file.
        what: The image or mask, for the message.
        why: Why an image of another format is not read: ``which Pillow does not read``.
    """
    name = named_format(content)
    if not name or name in _READ:
        return None
    if "image" in name or "photo" in name:
        return DatasetError(f"{what} is {name}, {why}", hint="convert it to PNG or JPEG")
    hint = "segplug predict reads videos" if "video" in name else None
    return DatasetError(f"{what} is {name}, not an image", hint=hint)


def _is_utf8(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and len(start) == _LOOKED_AT  # cut inside a letter
    return True
