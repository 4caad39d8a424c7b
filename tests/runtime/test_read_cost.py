"""Files that take minutes to decode, although they are small, are refused; ordinary files never are."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from segplug.errors import DatasetError
from segplug.preprocessing import Decoding
from segplug.runtime.reading import TooLargeError, decode_image, read_mask
from segplug.runtime.reading.cost import has_jpeg_end

SERVER = {"most_pixels": 1 << 25, "longest_edge": 16384, "most_bytes": 1 << 28}
"""The limits of a stranger's image."""


def decode(content: bytes, library: str = "opencv", **limits: int) -> np.ndarray:
    return decode_image(content, "a.img", Decoding(library=library), **limits)  # type: ignore[arg-type]


def progressive(edge: int = 64, mode: str = "L") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (edge, edge), "gray").save(content, "JPEG", progressive=True)
    return content.getvalue()


def with_scans(content: bytes, more: int, before: bytes = b"") -> bytes:
    """The last scan again and again, with ``before`` in front of each."""
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + (before + scan) * more + b"\xff\xd9"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(*chunks: bytes) -> bytes:
    content = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    return content[:33] + b"".join(chunks) + content[33:]


@pytest.mark.parametrize("library", ["opencv", "pillow"])
@pytest.mark.parametrize("limits", [{}, SERVER])
@pytest.mark.parametrize("before", [b"", b"\xff\x01", b"\xff\xff\xff", b"\xff\xd0", b"junk"])
def test_a_jpeg_of_thousands_of_scans_is_refused(library, limits, before):
    """Also where markers without a length, fill bytes or junk stand between the scans."""
    with pytest.raises(TooLargeError, match="scans"):
        decode(with_scans(progressive(), 2000, before), library, **limits)


def test_a_server_counts_scans_times_pixels():
    content = with_scans(progressive(1000), 40)
    assert decode(content, **SERVER).shape == (1000, 1000, 3)
    with pytest.raises(TooLargeError, match="too many for 1000000 pixels"):
        decode(content, **{**SERVER, "most_pixels": 1_500_000})
    assert decode(content).shape == (1000, 1000, 3)


def test_repeated_scans_of_single_components_are_refused():
    """Without the progressive mode, too: a baseline JPEG may have one scan for each component."""
    content = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    start = content.index(b"\xff\xda")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\x00" * 8
    with pytest.raises(TooLargeError, match="scans"):
        decode(content[:start] + scan * 2000 + b"\xff\xd9")


def test_a_jpeg_of_millions_of_segments_is_refused():
    content = progressive()
    with pytest.raises(DatasetError, match="segments"):
        decode(content[:2] + b"\xff\xfe\x00\x02" * 100_000 + content[2:])


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(7 << 20), 9)),
        chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(7 << 20), 9)),
    ],
)
def test_a_png_whose_texts_unpack_to_gigabytes_is_refused(text):
    assert decode(with_chunks(text), **SERVER).shape == (8, 8, 3)
    with pytest.raises(TooLargeError, match="compressed text"):
        decode(with_chunks(*[text] * 100), **SERVER)
    with pytest.raises(TooLargeError, match="compressed text"):
        decode(with_chunks(*[text] * 4000))


@pytest.mark.parametrize("limits", [{}, SERVER])
def test_a_png_of_more_data_than_its_pixels_is_refused(limits):
    more = chunk(b"IDAT", zlib.compress(bytes(200 << 20), 9))
    with pytest.raises(DatasetError, match="larger than the image"):
        decode(with_chunks(more), **limits)


@pytest.mark.parametrize(("limits", "count"), [({}, 100_000), (SERVER, 2000)])
def test_a_png_of_many_chunks_is_refused(limits, count):
    with pytest.raises(DatasetError, match="chunks"):
        decode(with_chunks(*[chunk(b"abCd", b"")] * count), "pillow", **limits)


def test_masks_are_checked_as_well(tmp_path):
    path = tmp_path / "mask.jpg"
    path.write_bytes(with_scans(progressive(), 2000))
    with pytest.raises(DatasetError, match="scans"):
        read_mask(path)


def test_the_end_of_a_thumbnail_is_no_end():
    content = progressive()
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    assert has_jpeg_end(content[:2] + thumbnail + content[2:] + b"more")
    assert not has_jpeg_end(content[:2] + thumbnail + content[2:-2])


def _pillow(**options: object) -> bytes:
    content = io.BytesIO()
    image = Image.effect_noise((300, 200), 60).convert("CMYK" if options.pop("cmyk", False) else "RGB")
    image.save(content, **options)
    return content.getvalue()


def _texts() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for number in range(50):
        info.add_text(f"key {number}", "a description of the image " * 20, zip=True)
        info.add_itxt(f"other {number}", "a description" * 50, zip=True)
    return info


ORDINARY: dict[str, Callable[[], bytes]] = {
    "Pillow, progressive": lambda: _pillow(format="JPEG", progressive=True, optimize=True, quality=95),
    "Pillow, 4:4:4": lambda: _pillow(format="JPEG", progressive=True, subsampling=0),
    "Pillow, CMYK": lambda: _pillow(format="JPEG", progressive=True, cmyk=True),
    "Pillow, restarts": lambda: _pillow(format="JPEG", restart_marker_rows=1),
    "Pillow, metadata": lambda: _pillow(format="JPEG", icc_profile=bytes(1 << 21), comment=b"x" * 60_000),
    "OpenCV, progressive": lambda: cv2.imencode(
        ".jpg",
        np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8),
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1],
    )[1].tobytes(),
    "Pillow, texts": lambda: _pillow(format="PNG", pnginfo=_texts(), icc_profile=bytes(1 << 20)),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_are_read(name):
    content = ORDINARY[name]()
    for library in ("opencv", "pillow"):
        assert decode(content, library, **SERVER).shape == (200, 300, 3)
        assert decode(content, library).shape == (200, 300, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pngs_that_are_not_compressed_are_read(mode):
    """In blocks as small as any encoder makes them."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 4), np.uint8)
    image = (
        Image.fromarray(noise).convert(mode)
        if mode != "I;16"
        else Image.fromarray(noise.view(np.uint16)[..., 0])
    )
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=0)
    data = content.getvalue()
    start, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    rows = zlib.decompress(_joined(data[start:end]))
    packer = zlib.compressobj(0, zlib.DEFLATED, 15, 1)
    small = b"".join(
        packer.compress(rows[at : at + 100]) + packer.flush(zlib.Z_FULL_FLUSH)
        for at in range(0, len(rows), 100)
    )
    content = data[:start] + chunk(b"IDAT", small + packer.flush()) + data[end:]
    assert decode(content, **SERVER).shape == (200, 300, 3)


def _joined(chunks: bytes) -> bytes:
    found, at = b"", 0
    while at < len(chunks):
        length = int.from_bytes(chunks[at : at + 4], "big")
        found += chunks[at + 8 : at + 8 + length]
        at += 12 + length
    return found


@pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not installed")
def test_what_jpegtran_writes_is_read(tmp_path):
    """Also with one scan for each coefficient, which no encoder does by itself."""
    bands = [f"0: {first} {first} 0 0;" for first in range(1, 64)]
    for script in (None, "0 1 2: 0 0 0 0;\n" + "\n".join(bands) + "\n1: 1 63 0 0;\n2: 1 63 0 0;\n"):
        given = ["-progressive"]
        if script is not None:
            (tmp_path / "scans").write_text(script)
            given = ["-scans", str(tmp_path / "scans")]
        jpeg = _pillow(format="JPEG")
        done = subprocess.run(["jpegtran", *given], input=jpeg, capture_output=True, check=True)
        assert decode(done.stdout, **SERVER).shape == (200, 300, 3)
