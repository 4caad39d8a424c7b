"""Formats beyond the usual ones: what OpenCV reads is read, and the rest is named."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segplug.errors import DatasetError
from segplug.preprocessing import Decoding
from segplug.runtime.reading import decode_image, read_image
from segplug.runtime.reading.format_names import named_format

BOX = struct.Struct(">I4s4s")


def picture() -> Image.Image:
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:, :6] = (255, 0, 0)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("library", ["opencv", "pillow"])
def test_a_gif_of_one_frame_is_read(library: Any, tmp_path: Path) -> None:
    picture().save(tmp_path / "a.gif")
    image = read_image(tmp_path / "a.gif", Decoding(library=library))
    assert image.shape == (8, 12, 3)
    assert image[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
@pytest.mark.parametrize("library", ["opencv", "pillow", "bands"])
def test_an_animation_is_named(library: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    picture().save(path, save_all=True, append_images=[picture().rotate(180)])
    with pytest.raises(DatasetError, match=r"is an animation of 2 frames.*segplug predict"):
        read_image(path, Decoding(library=library, color="unchanged" if library == "bands" else "color"))


KNOWN = {
    "a HEIC image": BOX.pack(24, b"ftyp", b"heic") + bytes(40),
    "an AVIF image": BOX.pack(24, b"ftyp", b"avif") + bytes(40),
    "an MP4 or QuickTime video": BOX.pack(24, b"ftyp", b"isom") + bytes(40),
    "a Matroska or WebM video": b"\x1aE\xdf\xa3" + bytes(40),
    "a JPEG XL image": b"\xff\x0a" + bytes(40),
    "an OpenEXR image": b"v/1\x01" + bytes(40),
    "a PDF document": b"%PDF-1.7\n",
    "a DICOM image": bytes(128) + b"DICM",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a web page": b"<!DOCTYPE html><html>",
    "a zip file": b"PK\x03\x04" + bytes(40),
    "text": "Straße\n".encode() * 200,
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("library", ["opencv", "pillow"])
def test_what_is_no_image_that_is_read_is_named(name: str, library: Any) -> None:
    with pytest.raises(DatasetError, match=f"the image a is {name}, (which|not an image)"):
        decode_image(KNOWN[name], "a", Decoding(library=library))
    with pytest.raises(DatasetError, match=f"the image a is {name}, (and only JPEG, PNG|not an image)"):
        decode_image(KNOWN[name], "a", Decoding(library=library), longest_edge=100)


def test_hints_say_what_to_do() -> None:
    with pytest.raises(DatasetError, match="convert it to PNG or JPEG"):
        decode_image(KNOWN["a HEIC image"], "a", Decoding())
    with pytest.raises(DatasetError, match="segplug predict reads videos"):
        decode_image(KNOWN["an MP4 or QuickTime video"], "a", Decoding())


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + bytes(99), b"BM" + bytes(99), b"\xff\xd8\xff\xd9"]
)
def test_a_damaged_file_of_a_usual_format_is_called_damaged(content: bytes) -> None:
    with pytest.raises(DatasetError, match="damaged"):
        decode_image(content, "a", Decoding())


@pytest.mark.parametrize("content", [b"", bytes(600), b"\x01\x02", b"\xff\xfe" + bytes(40), "é".encode()[:1]])
def test_what_nobody_knows_has_no_name(content: bytes) -> None:
    assert named_format(content) == ""


def test_a_letter_that_ends_beyond_the_first_bytes_is_text() -> None:
    assert named_format(b"a" * 511 + "é".encode()) == "text"
