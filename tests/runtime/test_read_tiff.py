"""TIFF of any channels and layout, and files that are made to take memory or time."""

from __future__ import annotations

import io
import re
import struct
import sys
import tracemalloc
import zlib
from typing import Any

import cv2
import numpy as np
import pytest

from segplug.errors import DatasetError, MissingDependencyError
from segplug.preprocessing import Decoding
from segplug.runtime.folder import FolderDataset, FolderOptions
from segplug.runtime.reading import TooLargeError, decode_image, read_mask

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

BANDS = Decoding(library="bands", color="unchanged")
UNCHANGED = Decoding(color="unchanged")
TIFFFILE = Decoding(library="tifffile", color="unchanged")
NODATA = 42113


def _values(*shape: int, dtype: Any = np.uint16) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (rng.random(shape) * (1 if np.dtype(dtype).kind == "f" else 250)).astype(dtype)


def _tif(array: np.ndarray, **settings: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **{"photometric": "minisblack", **settings})
    return file.getvalue()


def _geo(array: np.ndarray, nodata: str, **settings: Any) -> bytes:
    return _tif(array, metadata=None, extratags=[(NODATA, 2, 0, nodata, True)], **settings)


def _planes(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(image, -1, 0))


def _one_by_one(image: np.ndarray, **settings: Any) -> bytes:
    """Each band by a call of its own."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for plane in _planes(image):
            writer.write(plane, photometric="minisblack", contiguous=False, **settings)
    return file.getvalue()


LAYOUTS = {
    "interleaved": lambda a: _tif(a, planarconfig="contig"),
    "tiled": lambda a: _tif(a, planarconfig="contig", tile=(16, 16), compression="lzw"),
    "big endian": lambda a: _tif(a, planarconfig="contig", byteorder=">", compression="zlib", predictor=True),
    "BigTIFF": lambda a: _tif(a, planarconfig="contig", bigtiff=True, compression="zstd"),
    "planes": lambda a: _tif(_planes(a), planarconfig="separate", compression="packbits"),
    "pages": lambda a: _tif(_planes(a)),
    "pages without metadata": lambda a: _tif(_planes(a), metadata=None, compression="zlib"),
    "pages of one call each": _one_by_one,
    "pages of one call each without metadata": lambda a: _one_by_one(a, metadata=None),
    "ImageJ": lambda a: _tif(_planes(a), imagej=True),
    "OME": lambda a: _tif(_planes(a), ome=True, metadata={"axes": "CYX"}),
    "rows as pages": lambda a: _tif(a),
    "rows as pages, compressed": lambda a: _tif(a, compression="zlib"),
    "rows as pages, with axes": lambda a: _tif(a, metadata={"axes": "YXC"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("channels", "dtype"), [(2, np.uint8), (5, np.uint16), (13, np.float32)])
def test_bands_are_read_from_every_layout(layout, channels, dtype):
    image = _values(40, 24, channels, dtype=dtype)
    content = LAYOUTS[layout](image)
    for known in (channels, None):
        read = decode_image(content, "a.tif", BANDS, channels=known)
        assert read.dtype == dtype
        assert read.flags.c_contiguous
        assert read.dtype.isnative
        assert np.array_equal(read, image)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "uint32", "int32", "uint64", "float16", "float32", "float64"]
)
def test_one_band_keeps_its_type(dtype):
    image = _values(9, 7, dtype=dtype)
    for decoding in (BANDS, TIFFFILE):
        read = decode_image(_tif(image), "a.tif", decoding, channels=1)
        assert read.shape == (9, 7, 1)
        assert read.dtype == ("uint8" if dtype == "bool" else dtype)
        assert np.array_equal(read[..., 0], image)


def test_the_number_of_channels_says_which_axis_they_are_where_the_file_does_not():
    image = _values(20, 40, 60)  # 60 bands of 20x40, or 20 rows of 40 columns with 60 bands
    assert decode_image(_tif(image), "a.tif", BANDS, channels=60).shape == (20, 40, 60)
    assert decode_image(_tif(image), "a.tif", BANDS, channels=20).shape == (40, 60, 20)
    assert decode_image(_tif(image), "a.tif", BANDS).shape == (40, 60, 20)  # the smaller one
    named = _tif(image, metadata={"axes": "CYX"})
    with pytest.raises(DatasetError, match="has 20 channels, the network takes 60"):
        decode_image(named, "a.tif", BANDS, channels=60)


def test_tifffile_gives_what_mmcv_reads_with_it(mmseg):
    import mmcv

    image = _values(20, 30, 5)
    for content in (
        LAYOUTS["interleaved"](image),
        LAYOUTS["planes"](image),
        _tif(image[..., 0], byteorder=">"),
    ):
        expected = mmcv.imfrombytes(content, flag="unchanged", backend="tifffile")
        read = decode_image(content, "a.tif", TIFFFILE)
        assert np.array_equal(read, expected if expected.ndim == 3 else expected[..., None])
    hint = r"has 30 channels, the network takes 5 \(its shape is \(5, 20, 30\): save it as \(H, W, C\)"
    with pytest.raises(DatasetError, match=hint):
        decode_image(LAYOUTS["planes"](image), "a.tif", TIFFFILE, channels=5)


def test_smaller_copies_and_masks_are_no_bands():
    image = _values(40, 24, 3)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for plane in _planes(image):
            writer.write(plane, photometric="minisblack", metadata=None)
        writer.write(image[::2, ::2, 0], photometric="minisblack", metadata=None, subfiletype=1)
        writer.write(image[..., 0] > 9, photometric="minisblack", metadata=None, subfiletype=4)
    assert np.array_equal(decode_image(file.getvalue(), "a.tif", BANDS), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_one_image_only_if_one_guesses_is_refused(channels):
    stack = _values(2, 40, 24, channels) if channels > 1 else _values(2, 3, 40, 24)
    for metadata in (None, {}):
        content = _tif(stack, metadata=metadata, photometric="rgb" if channels == 3 else "minisblack")
        if channels == 1 and metadata is None:
            continue  # then its pages are bands
        with pytest.raises(DatasetError, match=r"the image a\.tif (holds|has)"):
            decode_image(content, "a.tif", BANDS)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for dtype in (np.uint8, np.float32):
            writer.write(_values(8, 9, dtype=dtype), metadata=None)
    with pytest.raises(DatasetError, match=r"pages of the image a\.tif have different types: float32, uint8"):
        decode_image(file.getvalue(), "a.tif", BANDS)


def test_what_opencv_and_tifffile_cannot_read_is_one_line():
    with pytest.raises(DatasetError, match="is a TIFF of 5 channels: OpenCV reads up to 4"):
        decode_image(LAYOUTS["interleaved"](_values(20, 30, 5)), "a.tif", UNCHANGED)
    with pytest.raises(DatasetError, match="complex"):
        decode_image(_tif(_values(5, 6).astype(np.complex64)), "a.tif", BANDS)
    with pytest.raises(DatasetError, match=r"a\.png is no TIFF"):
        decode_image(cv2.imencode(".png", _values(5, 6))[1].tobytes(), "a.png", TIFFFILE)


def test_a_thousand_channels_are_refused_by_the_header(monkeypatch):
    content = LAYOUTS["interleaved"](_values(9, 8, 1000))
    monkeypatch.setattr(tifffile.TiffFile, "asarray", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(DatasetError, match=r"^the image a\.tif has 1000 channels, the network takes 4$"):
        decode_image(content, "a.tif", BANDS, channels=4)


def test_missing_libraries_are_named_with_the_command(monkeypatch):
    plain, packed = _tif(_values(9, 8, 5)), LAYOUTS["tiled"](_values(9, 8, 5))
    monkeypatch.setattr("segplug.runtime.reading.tiff.find_spec", lambda _: None)
    assert decode_image(plain, "a.tif", BANDS).shape == (9, 8, 5)
    with pytest.raises(MissingDependencyError, match=r"\(LZW\).*imagecodecs.*segplug\[tiff\]"):
        decode_image(packed, "a.tif", BANDS)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingDependencyError, match=r"needs tifffile.*segplug\[tiff\]"):
        decode_image(plain, "a.tif", BANDS)
    grey = _tif(_values(9, 8))
    assert decode_image(grey, "a.tif", UNCHANGED).shape == (9, 8, 1)  # OpenCV needs none of them


@pytest.mark.parametrize(
    "decoding", [BANDS, TIFFFILE, UNCHANGED, Decoding(library="pillow", color="unchanged")]
)
def test_pixels_without_data_are_masked(decoding):
    image = _values(9, 8)
    image[2:4, 3] = 7777
    read = decode_image(_geo(image, "7777"), "a.tif", decoding)
    assert isinstance(read, np.ma.MaskedArray)
    assert np.array_equal(read.mask[..., 0], image == 7777)
    assert np.array_equal(read.data[..., 0], image)
    for absent in ("0.5", "-1", "70000", "nan", "none", "5000"):
        assert type(decode_image(_geo(image, absent), "a.tif", decoding)) is np.ndarray


@pytest.mark.parametrize("decoding", [BANDS, UNCHANGED])
@pytest.mark.parametrize(
    ("text", "value", "kept"),
    [
        ("nan", np.nan, 0),
        ("-inf", -np.inf, 0),
        ("-3.4028234663852886e+38", -3.4028234663852886e38, 0),
        ("-9999", -9999, -9999),
    ],
)
def test_values_that_a_network_cannot_take_are_replaced_under_the_mask(decoding, text, value, kept):
    image = _values(9, 8, 3, dtype=np.float32)
    image[1, 2] = value
    image[5, 6, 1] = value
    read = decode_image(_geo(image, text, planarconfig="contig", photometric="rgb"), "a.tif", decoding)
    assert read.mask.sum(axis=2)[1, 2] == 3
    assert read.mask.sum() == 4
    assert set(read.data[read.mask].tolist()) == {kept}


def test_a_colour_image_of_bytes_is_masked_where_its_values_are_kept():
    image = _values(9, 8, 3, dtype=np.uint8)
    image[1, 2] = 0
    image[3, 4, 0] = 0
    content = _geo(image, "0", photometric="rgb")
    read = decode_image(content, "a.tif", Decoding())
    assert np.array_equal(read.mask, (image == 0)[..., ::-1])
    assert type(decode_image(content, "a.tif", Decoding(color="grayscale"))) is np.ndarray
    wide = _geo(_values(9, 8) * 0, "0")
    assert type(decode_image(wide, "a.tif", Decoding())) is np.ndarray  # 16 bits became 8


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int16", -9999), ("uint16", 65535), ("uint32", 70000), ("float32", -1.5)]
)
def test_a_mask_without_data_is_masked_there(tmp_path, dtype, nodata):
    labels = np.array([[1, 2, nodata], [0, nodata, 3]], dtype)
    path = tmp_path / "m.tif"
    for compression in (None, "zstd"):  # Pillow reads no Zstandard
        path.write_bytes(_geo(labels, str(nodata), compression=compression))
        for wide, ignored in ((False, 255), (True, 65535)):
            mask = read_mask(path, wide=wide)
            assert mask.data.tolist() == [[1, 2, ignored], [0, ignored, 3]]
            assert np.array_equal(mask.mask, labels == np.dtype(dtype).type(nodata))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "float32"])
def test_a_nodata_value_that_may_be_a_class_is_a_label(tmp_path, dtype):
    """A profile that is copied from an image has its nodata value, 0 for one."""
    labels = np.array([[1, 2, 0], [0, 9, 3]], dtype)
    path = tmp_path / "m.tif"
    for compression in (None, "zstd"):
        path.write_bytes(_geo(labels, "0", compression=compression))
        for wide in (False, True):
            mask = read_mask(path, wide=wide)
            assert type(mask) is np.ndarray
            assert mask.tolist() == labels.tolist()


@pytest.mark.parametrize("ignored", [255, 0, 300])
def test_a_folder_ignores_pixels_of_masks_without_data(tmp_path, ignored):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "a.tif").write_bytes(_geo(_values(2, 3), "9"))
    (tmp_path / "masks" / "a.tif").write_bytes(_geo(np.array([[1, 2, -9], [3, -9, 3]], np.int16), "-9"))
    data = FolderDataset(tmp_path, FolderOptions(mask_suffix=".tif", ignore_index=ignored))
    assert data.read_mask(0).tolist() == [[1, 2, ignored], [3, ignored, 3]]


def test_a_mask_of_several_bands_is_refused(tmp_path):
    (tmp_path / "m.tif").write_bytes(LAYOUTS["interleaved"](_values(9, 8, 5)))
    with pytest.raises(DatasetError, match=r"m\.tif has 5 channels \(a mask has one"):
        read_mask(tmp_path / "m.tif")


def _directory(tags: dict[int, tuple[int, ...]], *, rest: bytes = b"", following: int = 0) -> bytes:
    """A TIFF file of one page, of tags of one 32-bit number each (or a count and an offset)."""
    entries = b"".join(
        struct.pack("<HHII", tag, 4, *((1, *value) if len(value) == 1 else value))
        for tag, value in tags.items()
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + rest


def _page(width: int, height: int, **more: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    tags = {
        256: (width,),
        257: (height,),
        258: (8,),
        259: (1,),
        262: (1,),
        273: (8,),
        277: (1,),
        278: (height,),
        279: (99,),
    }
    return tags | {int(tag[1:]): value for tag, value in more.items()}


def _with_tags(content: bytes, numbers: dict[int, int]) -> bytes:
    """The file with other numbers in tags of the first page that hold one number."""
    changed = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for code, number in numbers.items():
            tag = file.pages[0].tags[code]
            changed[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, number)
    return bytes(changed)


HOSTILE = {
    "many pixels": (_directory(_page(60000, 60000)), "is 60000x60000: more than"),
    "many channels": (
        _directory(_page(10000, 10000, t277=(60000,))),
        "60000 channels of 1 bytes: more than 4294967296 bytes",
    ),
    "no pixels": (_directory(_page(0, 10)), "damaged: it is 0x10"),
    "no size": (_directory({258: (8,)}), "no tag 257|no tag 256"),
    "a tag twice": (
        _directory(_page(4, 4))[:8] + b"\x02\0" + struct.pack("<HHII", 256, 4, 1, 9) * 2 + b"\0" * 4,
        "twice",
    ),
    "many tiles": (_directory(_page(4, 4, t273=(1 << 30, 8))), "damaged"),
    "a strip outside": (_directory(_page(40, 40)), "damaged"),
    "cut off": (LAYOUTS["interleaved"](_values(40, 24, 4))[:900], "damaged"),
    "cut off, compressed": (LAYOUTS["tiled"](_values(40, 24, 4))[:-900], "damaged"),
    "eight bytes": (b"II*\0\x08\0\0\0", "cut off"),
    "four bytes": (b"MM\0+", "damaged: the file is cut off$"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("decoding", [BANDS, TIFFFILE, UNCHANGED, Decoding(library="pillow")])
def test_a_hostile_file_takes_no_memory(kind, decoding, capfd):
    content, message = HOSTILE[kind]
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError) as caught:
            decode_image(content, "a.tif", decoding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert re.match(r"the image a\.tif ", str(caught.value))
    if decoding.library in ("bands", "tifffile"):
        assert re.search(message, str(caught.value))
        assert capfd.readouterr() == ("", "")
    assert peak < 50e6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_directory(_page(4, 4), following=8), "run in a circle"),
        (_directory(_page(4, 4), following=1 << 30), "cut off"),
        (_directory(_page(4, 4, t33000=(1 << 31, 8))), "tags are larger than the file"),
    ],
)
def test_what_lies_beyond_the_first_page_is_checked_before_tifffile_reads_it(content, message, monkeypatch):
    monkeypatch.setattr(tifffile, "TiffFile", lambda *_, **__: pytest.fail("tifffile has read it"))
    for decoding in (BANDS, TIFFFILE):
        with pytest.raises(DatasetError, match=message):
            decode_image(content, "a.tif", decoding)
    assert decode_image(content, "a.tif", UNCHANGED).shape == (4, 4, 1)


def test_pages_that_take_long_to_list_are_refused():
    page = _directory(_page(4, 4))[8:-4]
    size = len(page) + 4
    chain = b"".join(page + struct.pack("<I", 8 + size * (number + 1)) for number in range(40000))
    with pytest.raises(DatasetError, match="too many pages"):
        decode_image(b"II*\0" + struct.pack("<I", 8) + chain, "a.tif", BANDS)


def test_a_tile_larger_than_its_image_takes_no_memory():
    content = _with_tags(
        _tif(_values(16, 16, dtype=np.uint8), tile=(16, 16), compression="zlib", metadata=None),
        {322: 60000, 323: 60000},
    )
    with pytest.raises(DatasetError, match="tiles are larger than the image"):
        decode_image(content, "a.tif", BANDS)


def test_a_strip_that_inflates_beyond_its_size_is_refused():
    content = _tif(_values(16, 16, dtype=np.uint8), compression="zlib", metadata=None)
    bomb = zlib.compress(bytes(20_000_000))
    content = _with_tags(content, {273: len(content), 279: len(bomb)}) + bomb
    tracemalloc.start()
    with pytest.raises(DatasetError):
        decode_image(content, "a.tif", BANDS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_a_server_refuses_what_it_cannot_bound():
    image = _values(16, 16, 3, dtype=np.uint8)
    content = _tif(image, photometric="rgb", compression="jpeg")
    assert decode_image(content, "a.tif", BANDS).shape == (16, 16, 3)
    with pytest.raises(DatasetError, match="compressed with JPEG, which is not read here"):
        decode_image(content, "a.tif", BANDS, longest_edge=100)
    content = LAYOUTS["tiled"](image)
    assert decode_image(content, "a.tif", BANDS, longest_edge=16, most_pixels=256).shape == (16, 16, 3)
    with pytest.raises(TooLargeError, match="edges of more than 15"):
        decode_image(content, "a.tif", BANDS, longest_edge=15)
    with pytest.raises(TooLargeError, match="more than 255 pixels"):
        decode_image(content, "a.tif", BANDS, longest_edge=16, most_pixels=255)


def test_any_byte_of_a_header_may_be_wrong():
    """A damaged file is an image or a DatasetError, which is one line, and never another exception."""
    rng = np.random.default_rng(0)
    for layout in ("interleaved", "tiled", "pages without metadata", "rows as pages"):
        whole = LAYOUTS[layout](_values(20, 9, 3))
        for _ in range(60):
            content = bytearray(whole)
            for place in rng.integers(0, len(content), 6):
                content[place] = rng.integers(0, 256)
            for decoding in (BANDS, TIFFFILE):
                try:
                    assert decode_image(bytes(content), "a.tif", decoding, most_pixels=10000).ndim == 3
                except DatasetError:
                    continue
