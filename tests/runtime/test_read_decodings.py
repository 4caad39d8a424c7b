"""Every decoding gives the pixels of mmcv's backend of that name."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from segplug.errors import DatasetError, MissingDependencyError
from segplug.preprocessing import Decoding
from segplug.runtime import libraries
from segplug.runtime.reading import TooLargeError, decode_image

COLORS = ("color", "grayscale", "unchanged", "color_ignore_orientation", "grayscale_ignore_orientation")


def _png(picture: Image.Image, **settings: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **settings)
    return file.getvalue()


def _files(picture: np.ndarray) -> dict[str, bytes]:
    wide = picture.astype(np.uint16) * 257
    colours, alpha = Image.fromarray(picture), Image.fromarray(picture[..., 0])
    transparent = colours.convert("RGBA")
    transparent.putalpha(alpha)
    grey = colours.convert("L")
    grey.putalpha(alpha)
    turned = Image.Exif()
    turned[0x0112] = 6
    jpeg = io.BytesIO()
    colours.save(jpeg, "JPEG", exif=turned)
    return {
        "RGB": _png(colours),
        "RGBA": _png(transparent),
        "LA": _png(grey),
        "P": _png(colours.convert("P")),
        "P with transparency": _png(colours.convert("P"), transparency=3),
        "1": _png(colours.convert("1")),
        "L": _png(colours.convert("L")),
        "16 bit": cv2.imencode(".png", wide[..., 0])[1].tobytes(),
        "16 bit RGB": cv2.imencode(".png", wide)[1].tobytes(),
        "turned JPEG": jpeg.getvalue(),
        "BMP": cv2.imencode(".bmp", picture)[1].tobytes(),
        "TIFF": cv2.imencode(".tif", picture)[1].tobytes(),
        "16 bit TIFF": cv2.imencode(".tif", wide)[1].tobytes(),
        "float TIFF": cv2.imencode(".tif", picture[..., 0].astype(np.float32) / 3)[1].tobytes(),
    }


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize(("library", "backend"), [("opencv", "cv2"), ("pillow", "pillow")])
def test_every_mode_is_mmcvs_own(mmseg, photo, library, backend, color):
    import mmcv

    refused = []
    for kind, content in _files(photo(20, 30)).items():
        try:
            expected = mmcv.imfrombytes(content, flag=color, backend=backend)
        except Exception:
            expected = None
        if expected is None:
            refused.append(kind)
            with pytest.raises(DatasetError, match=f"^the image {kind} "):
                decode_image(content, kind, Decoding(library=library, color=color))
            continue
        image = decode_image(content, kind, Decoding(library=library, color=color))
        assert np.array_equal(image, expected if expected.ndim == 3 else expected[..., None]), kind
        assert image.dtype == (np.uint8 if expected.dtype == bool else expected.dtype), kind
        assert image.flags.c_contiguous, kind
        assert image.flags.writeable, kind
    assert refused == (["float TIFF"] if library == "opencv" and color != "unchanged" else [])


def test_a_tiff_of_eight_bits_goes_through_opencv_unless_the_decoding_says_otherwise(mmseg, photo):
    import mmcv

    content = cv2.imencode(".tif", photo(20, 30))[1].tobytes()
    expected = mmcv.imfrombytes(content)
    assert np.array_equal(decode_image(content, "a.tif", Decoding()), expected)
    bands = decode_image(content, "a.tif", Decoding(library="bands", color="unchanged"))
    assert np.array_equal(bands, expected[..., ::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bands_are_in_the_order_of_the_file(dtype, channels):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 30, channels), dtype)
    stored = values if channels == 1 else values[..., [2, 1, 0, 3][:channels]]  # OpenCV takes BGR
    content = cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes()
    image = decode_image(content, "a.png", Decoding.for_channels(4))
    assert image.dtype == dtype
    assert np.array_equal(image, values)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_of_two_channels_gives_two_bands(bits):
    """Grey and alpha, of which OpenCV makes BGRA."""
    values = np.random.default_rng(0).integers(0, 1 << bits, (5, 6, 2)).astype(f">u{bits // 8}")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 6, 5, bits, 4, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    image = decode_image(content, "a.png", Decoding.for_channels(2), channels=2)
    assert image.dtype == f"u{bits // 8}"
    assert np.array_equal(image, values)
    assert decode_image(content, "a.png", Decoding(color="unchanged")).shape == (5, 6, 4), "as mmcv does"


def test_turbojpeg_decodes_as_in_mmcv(mmseg, photo):
    try:
        libraries.turbojpeg()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    import mmcv

    content = cv2.imencode(".jpg", photo(21, 33))[1].tobytes()
    mmcv.use_backend("turbojpeg")
    try:
        for color in ("color", "grayscale"):
            expected = mmcv.imfrombytes(content, flag=color)
            image = decode_image(content, "a.jpg", Decoding(library="turbojpeg", color=color))
            assert np.array_equal(image, expected if expected.ndim == 3 else expected[..., None])
    finally:
        mmcv.use_backend("cv2")


def test_turbojpeg_reads_jpeg_only_and_says_how_to_install_it(photo, monkeypatch):
    decoding = Decoding(library="turbojpeg")
    with pytest.raises(DatasetError, match=r"a\.png is no JPEG"):
        decode_image(cv2.imencode(".png", photo(5, 6))[1].tobytes(), "a.png", decoding)
    monkeypatch.setitem(sys.modules, "turbojpeg", None)
    libraries.turbojpeg.cache_clear()
    with pytest.raises(MissingDependencyError, match="pip install PyTurboJPEG"):
        decode_image(cv2.imencode(".jpg", photo(5, 6))[1].tobytes(), "a.jpg", decoding)
    libraries.turbojpeg.cache_clear()


@pytest.mark.parametrize("library", ["opencv", "pillow", "bands", "tifffile"])
def test_a_file_that_is_no_image_is_one_line_that_names_it(library):
    with pytest.raises(DatasetError, match=r"a\.png (is|cannot)") as caught:
        decode_image(b"no image at all" * 9, "a.png", Decoding(library=library))
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("library", ["opencv", "pillow", "bands"])
def test_a_server_reads_formats_whose_size_is_known(photo, library):
    decoding = Decoding(library=library, color="unchanged")
    picture = photo(20, 30)
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif"):
        content = cv2.imencode(suffix, picture)[1].tobytes()
        assert decode_image(content, "a", decoding, most_pixels=600, longest_edge=30).shape == (20, 30, 3)
        with pytest.raises(TooLargeError, match="30x20: more than 599 pixels"):
            decode_image(content, "a", decoding, most_pixels=599, longest_edge=30)
        with pytest.raises(TooLargeError, match="edges of more than 29"):
            decode_image(content, "a", decoding, most_pixels=600, longest_edge=29)
    content = cv2.imencode(".ppm", picture)[1].tobytes()
    with pytest.raises(DatasetError, match="is a netpbm image, and only JPEG, PNG"):
        decode_image(content, "a", decoding, longest_edge=30)
    assert decode_image(content, "a", decoding).shape == (20, 30, 3)


def test_a_decoding_with_pillow_needs_no_opencv(photo, monkeypatch):
    content = cv2.imencode(".png", photo(5, 6))[1].tobytes()
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert decode_image(content, "a", Decoding(library="pillow")).shape == (5, 6, 3)
    with pytest.raises(MissingDependencyError, match="needs OpenCV"):
        decode_image(content, "a", Decoding())
