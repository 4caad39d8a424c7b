"""Reading gives mmcv's pixels, and every damaged file is one clear error that names it."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segplug.errors import DatasetError
from segplug.preprocessing import Decoding
from segplug.runtime import libraries
from segplug.runtime.reading import decode_image, label_table, read_mask
from segplug.runtime.reading import read_image as read_decoded
from segplug.runtime.reading.limits import MAX_BYTES, Limits
from segplug.runtime.reading.usual import check_usual


def read_image(path: Path) -> np.ndarray:
    """In the usual decoding."""
    return read_decoded(path, Decoding())


def _mmcv_image(path: Path) -> np.ndarray:
    import mmcv

    return mmcv.imfrombytes(path.read_bytes(), flag="color", backend="cv2")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_an_image_is_what_mmcv_reads(mmseg, photo, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), photo(50, 70))
    assert np.array_equal(read_image(path), _mmcv_image(path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1"])
def test_other_pixel_formats_become_bgr_bytes_as_in_mmcv(mmseg, photo, tmp_path, mode):
    picture = Image.fromarray(photo(20, 30))
    if mode == "I;16":
        picture = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
    else:
        picture = picture.convert(mode)
    path = tmp_path / "a.png"
    picture.save(path)
    image = read_image(path)
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, _mmcv_image(path))


def test_the_exif_orientation_is_applied_as_mmcv_does(mmseg, photo, tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(20, 30)).save(path, exif=exif)
    assert read_image(path).shape == (30, 20, 3)
    assert np.array_equal(read_image(path), _mmcv_image(path))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_a_file_that_is_cut_off_is_refused_by_name(photo, tmp_path, suffix, share):
    path = tmp_path / f"torn{suffix}"
    content = cv2.imencode(suffix, photo(60, 80))[1].tobytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DatasetError, match=f"torn{suffix}"):
        read_image(path)


def test_a_jpeg_with_a_thumbnail_that_is_cut_off_is_refused(photo, tmp_path, monkeypatch):
    """Older OpenCV decodes it with a grey rest: we must see it ourselves."""
    thumbnail = cv2.imencode(".jpg", photo(16, 16))[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = cv2.imencode(".jpg", photo(60, 80))[1].tobytes()
    content = whole[:2] + segment + whole[2:]
    path = tmp_path / "thumb.jpg"
    path.write_bytes(content + b"trailing bytes of a camera")
    assert read_image(path).shape == (60, 80, 3)
    path.write_bytes(content[:-40])
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DatasetError, match="cut off"):
        read_image(path)


def test_no_file_an_empty_one_and_one_that_is_no_image_are_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("this is not an image")
    for read in (read_image, read_mask):
        with pytest.raises(DatasetError, match=r"missing\.png does not exist"):
            read(tmp_path / "missing.png")
        with pytest.raises(DatasetError, match=r"empty\.png is empty"):
            read(tmp_path / "empty.png")
        with pytest.raises(DatasetError, match=r"text\.png is text, not an image"):
            read(tmp_path / "text.png")


def test_a_small_file_that_claims_a_huge_image_is_refused_before_decoding(tmp_path, monkeypatch):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    end = b"\x00\x00\x00\x00IEND\xaeB`\x82"
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + end
    )
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    for read in (read_image, read_mask):
        with pytest.raises(DatasetError, match="60000x60000"):
            read(path)


def test_a_file_that_is_larger_than_any_image_is_not_read(tmp_path):
    path = tmp_path / "huge.npy"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a hole, which takes no room on the disk
    for read in (read_image, read_mask):
        with pytest.raises(DatasetError, match=r"huge\.npy has 4\.0 GiB"):
            read(path)


def test_an_image_of_other_channels_than_the_network_takes_is_refused(photo):
    content = cv2.imencode(".png", photo(20, 30))[1].tobytes()
    assert decode_image(content, "a.png", Decoding(), channels=3).shape == (20, 30, 3)
    with pytest.raises(DatasetError, match=r"^the image a\.png has 3 channels, the network takes 4$"):
        decode_image(content, "a.png", Decoding(color="unchanged"), channels=4)
    with pytest.raises(DatasetError, match=r"^the image a\.png has 1 channel, the network takes 3$"):
        decode_image(content, "a.png", Decoding(color="grayscale"), channels=3)


def test_what_a_loader_of_the_users_own_reads_is_refused_with_the_way_out(photo):
    content = cv2.imencode(".png", photo(20, 30))[1].tobytes()
    with pytest.raises(DatasetError, match=r"own loader LoadBands only \(save what LoadBands gives as \.npy"):
        decode_image(content, "a.png", Decoding(loader="LoadBands"))


def test_a_palette_mask_keeps_its_indices(tmp_path):
    labels = np.array([[0, 1, 2], [255, 11, 3]], np.uint8)
    picture = Image.fromarray(labels, mode="L")
    picture.putpalette([i % 256 for i in range(768)])
    picture.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), labels)


def test_a_mask_of_one_pixel_row_stays_two_dimensional(tmp_path):
    Image.fromarray(np.zeros((1, 5), np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").shape == (1, 5)


def test_a_coloured_mask_is_refused(photo, tmp_path):
    Image.fromarray(photo(4, 5)).save(tmp_path / "rgb.png")
    with pytest.raises(DatasetError, match=r"rgb\.png has 3 channels"):
        read_mask(tmp_path / "rgb.png")


def test_a_mask_of_16_bits_is_read_as_bytes_where_these_cannot_mistake_it(tmp_path):
    path = tmp_path / "wide.png"
    Image.fromarray(np.array([[3, 65535]], np.uint16)).save(path)
    assert read_mask(path).tolist() == [[3, 255]]
    for value in (300, 511):  # all bits of 511 that a byte has are set, but not all of its own
        Image.fromarray(np.array([[3, value]], np.uint16)).save(path)
        with pytest.raises(DatasetError, match=rf"holds {value}.*ignore_index is above 255"):
            read_mask(path)


def test_pillow_does_not_warn_of_large_images(tmp_path):
    jpeg = cv2.imencode(".jpg", np.zeros((16, 16), np.uint8))[1].tobytes()
    frame = jpeg.index(b"\xff\xc0") + 5
    large = jpeg[:frame] + struct.pack(">HH", 10_000, 12_000) + jpeg[frame + 4 :]
    libraries._allow_large_images.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_usual(large, "a slide", Limits())
    assert caught == []


def test_a_wide_mask_keeps_all_values_of_16_bits(tmp_path):
    path = tmp_path / "wide.png"
    Image.fromarray(np.array([[3, 255, 300, 65535]], np.uint16)).save(path)
    mask = read_mask(path, wide=True)
    assert mask.dtype == np.uint16
    assert mask.tolist() == [[3, 255, 300, 65535]]
    Image.fromarray(np.array([[3, 255]], np.uint8)).save(path)
    mask = read_mask(path, wide=True)
    assert mask.dtype == np.uint16
    assert mask.tolist() == [[3, 255]]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint32", "float32", "bool"])
def test_a_mask_may_be_an_array_of_whole_numbers(tmp_path, dtype):
    path = tmp_path / "m.npy"
    np.save(path, np.array([[1, 0, -1]] if dtype.startswith(("int", "float")) else [[1, 0, 1]]).astype(dtype))
    last = 1 if dtype in ("uint32", "bool") else 255
    mask = read_mask(path)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[1, 0, last]]
    assert read_mask(path, wide=True).tolist() == [[1, 0, 65535 if last == 255 else 1]]


def test_a_mask_of_broken_numbers_is_refused(tmp_path):
    for value in (0.5, np.nan, -2):
        np.save(tmp_path / "m.npy", np.array([[1, value]], np.float32))
        with pytest.raises(DatasetError, match="which is no label from 0 to 255"):
            read_mask(tmp_path / "m.npy")


def test_the_label_table_is_mmsegs_own_mapping(mmseg):
    from mmseg.datasets.pipelines import LoadAnnotations

    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for label_map, reduce in [({3: 1, 1: 3, 7: 0}, False), (None, True), ({5: 0, 0: 9}, True)]:
        loader = LoadAnnotations(reduce_zero_label=reduce)
        results = {"ann_info": {"seg_map": "x"}, "seg_prefix": None, "seg_fields": []}
        results["label_map"] = label_map
        loader.file_client = type("C", (), {"get": staticmethod(lambda _: _png(stored))})
        expected = loader(results)["gt_semantic_seg"]
        table = label_table(label_map, reduce_zero_label=reduce)
        assert np.array_equal(table[stored], expected)
    assert label_table() is None
    assert label_table({4: -1})[4] == 255


def test_the_label_table_of_wide_masks_has_all_16_bits():
    table = label_table({4: -1, 500: 2}, reduce_zero_label=True, wide=True)
    assert table.dtype == np.uint16
    stored = np.array([0, 1, 4, 255, 256, 500, 65534, 65535])
    assert table[stored].tolist() == [65535, 0, 65535, 254, 255, 1, 65533, 65535]


def _png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()
