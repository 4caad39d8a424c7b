"""Reading gives mmcv's pixels, and every damaged file is one clear error that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segplug.errors import DatasetError
from segplug.runtime.reading import label_table, read_image, read_mask


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
        with pytest.raises(DatasetError, match=r"text\.png is not an image"):
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


def test_a_wide_mask_is_taken_where_a_byte_cannot_mistake_it(tmp_path):
    path = tmp_path / "wide.png"
    Image.fromarray(np.array([[3, 65535]], np.uint16)).save(path)
    assert read_mask(path).tolist() == [[3, 255]]
    Image.fromarray(np.array([[3, 300]], np.uint16)).save(path)
    with pytest.raises(DatasetError, match="holds 300"):
        read_mask(path)


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


def _png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()
