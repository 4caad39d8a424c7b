"""``.npy`` files as images: plain numbers, checked by the header."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest

from segplug.errors import DatasetError
from segplug.preprocessing import Decoding
from segplug.runtime.reading import TooLargeError, decode_image, read_image


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    raw = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(raw).to_bytes(2 if version == (1, 0) else 4, "little") + raw


def _claim(shape: str, dtype: str = "'<f4'") -> bytes:
    return _header(f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}")


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(),
        Decoding(library="pillow"),
        Decoding(library="bands"),
        Decoding(library="tifffile"),
        Decoding(loader="Own"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", ">i4", "float16", "float32", ">f8", "bool"])
def test_an_array_is_the_image_whatever_the_decoding(tmp_path, decoding, dtype):
    array = (np.random.default_rng(0).random((6, 5, 4)) * 200).astype(dtype)
    for stored in (array, np.asfortranarray(array), array[:, :, 0]):
        path = tmp_path / "a.npy"
        np.save(path, stored)
        image = read_image(path, decoding, channels=4 if stored.ndim == 3 else 1)
        assert np.array_equal(image, stored if stored.ndim == 3 else stored[..., None])
        assert image.dtype == ("uint8" if dtype == "bool" else np.dtype(dtype).newbyteorder("="))
        assert image.flags.c_contiguous
        assert image.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.array([[object()]]),
        np.array([["a"]]),
        np.zeros((2, 2), complex),
        np.zeros((2, 2), "M8[s]"),
        np.zeros((2, 2), [("a", "f4")]),
        np.zeros((2, 2), np.longdouble),
    ],
)
def test_what_is_no_plain_number_is_refused_and_never_unpickled(array):
    with pytest.raises(DatasetError, match=r"^the image a\.npy (holds|is damaged)"):
        decode_image(_npy(array), "a.npy", Decoding())


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (_claim("(100000, 100000)"), TooLargeError, "100000x100000: more than"),
        (_claim("(10000, 10000, 1000)"), TooLargeError, "1000 channels of 4 bytes: more than"),
        (_claim("(9000, 9000, 3)"), DatasetError, "cut off"),
        (_claim("(0, 9)"), DatasetError, "is damaged: it is 9x0"),
        (_claim("(-4, -9)"), DatasetError, "is damaged"),
        (_claim("(9,)"), DatasetError, r"has the shape \(9,\)"),
        (_claim("(1, 9, 9, 3)"), DatasetError, r"\(H, W\) or \(H, W, C\) is expected"),
        (_claim("(9, 9)", "'|V900000000'"), DatasetError, "not plain numbers"),
        (_claim("(9, 9)", "'nothing'"), DatasetError, "is damaged, or no array"),
        (_claim("9"), DatasetError, "is damaged, or no array"),
        (_claim("(True, 5, 3)") + bytes(60), DatasetError, "is damaged, or no array"),
        (_header("[" * 5000), DatasetError, "is damaged, or no array"),
        (_header("{}", (3, 0)), DatasetError, "is damaged, or no array"),
        (b"\x93NUMPY", DatasetError, "is damaged, or no array"),
        (_npy(np.zeros((9, 9)))[:-1], DatasetError, "cut off"),
    ],
)
def test_a_damaged_file_is_refused_before_it_takes_memory(content, error, message):
    tracemalloc.start()
    try:
        with pytest.raises(error, match=rf"^the image a\.npy .*{message}"):
            decode_image(content, "a.npy", Decoding())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2e6


def test_the_limits_of_a_server_hold():
    content = _npy(np.zeros((20, 30, 4), np.uint8))
    limits: dict[str, Any] = {"most_pixels": 600, "longest_edge": 30}
    assert decode_image(content, "a", Decoding(), channels=4, **limits).shape == (20, 30, 4)
    with pytest.raises(TooLargeError, match="more than 599 pixels"):
        decode_image(content, "a", Decoding(), **(limits | {"most_pixels": 599}))
    with pytest.raises(TooLargeError, match="edges of more than 29"):
        decode_image(content, "a", Decoding(), **(limits | {"longest_edge": 29}))


def test_channels_that_come_first_are_refused_with_the_way_out():
    content = _npy(np.zeros((4, 20, 30), np.uint8))
    with pytest.raises(
        DatasetError, match=r"has 30 channels, the network takes 4 \(.*numpy\.moveaxis\(array, 0, -1\)"
    ):
        decode_image(content, "a.npy", Decoding(), channels=4)
    with pytest.raises(DatasetError, match=r"^the image a\.npy has 30 channels, the network takes 5$"):
        decode_image(content, "a.npy", Decoding(), channels=5)
