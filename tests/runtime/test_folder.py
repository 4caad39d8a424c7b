"""Folders and lists of image files as data sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from segplug.dataset import Dataset
from segplug.errors import DatasetError, UsageError
from segplug.options import build_options
from segplug.preprocessing import Decoding
from segplug.providers import Confidence
from segplug.requests import LoadDatasetRequest
from segplug.runtime.folder import FolderDataset, FolderOptions, ImageList, provider
from segplug.testing import make_request


def _write(path, value=0, size=(4, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if path.suffix == ".png" and path.parts[-2] != "images" else (*size, 3)
    cv2.imwrite(str(path), np.full(shape, value, np.uint8))


def _write_tif(path, bands):
    import tifffile

    tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig")


@pytest.fixture
def folder(tmp_path):
    for index, name in enumerate(["b", "a", "sub/c"]):
        _write(tmp_path / "images" / f"{name}.jpg", index)
        _write(tmp_path / "masks" / f"{name}.png", index)
    return tmp_path


def test_images_and_masks_are_paired_by_name_and_sorted(folder):
    dataset = FolderDataset(folder)
    assert isinstance(dataset, Dataset)
    assert [dataset.name(index) for index in range(len(dataset))] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert dataset.info.has_masks
    assert dataset.info.classes == ()
    assert [int(dataset.read_mask(index).max()) for index in range(3)] == [1, 0, 2]
    assert dataset.read_image(2, Decoding()).shape == (4, 6, 3)
    assert dataset.mask_path(2) == folder / "masks" / "sub" / "c.png"


def test_a_flat_folder_has_no_masks(tmp_path):
    _write(tmp_path / "x.jpg")
    _write(tmp_path / ".hidden.jpg")
    (tmp_path / "notes.txt").touch()
    dataset = FolderDataset(tmp_path)
    assert [dataset.name(index) for index in range(len(dataset))] == ["x.jpg"]
    assert not dataset.info.has_masks
    with pytest.raises(DatasetError, match="no masks"):
        dataset.read_mask(0)


def test_flat_images_beside_their_masks_folder_do_not_become_images(tmp_path):
    _write(tmp_path / "x.jpg")
    _write(tmp_path / "labels" / "x.png", 3)
    dataset = FolderDataset(tmp_path)
    assert len(dataset) == 1
    assert dataset.read_mask(0).max() == 3


def test_names_like_those_of_cityscapes_are_paired_by_suffix(tmp_path):
    _write(tmp_path / "img" / "aachen" / "1_leftImg8bit.png")
    _write(tmp_path / "gt" / "aachen" / "1_gtFine.png", 9)
    _write(tmp_path / "gt" / "aachen" / "1_other.png", 8)
    options = FolderOptions(
        img_dir="img", mask_dir="gt", img_suffix=("_leftImg8bit.png",), mask_suffix="_gtFine.png"
    )
    assert FolderDataset(tmp_path, options).read_mask(0).max() == 9


def test_images_and_masks_may_share_a_folder(tmp_path):
    _write(tmp_path / "both" / "1.jpg")
    _write(tmp_path / "both" / "1.png", 5)
    options = FolderOptions(img_dir="both", mask_dir="both", img_suffix=(".jpg",))
    dataset = FolderDataset(tmp_path, options)
    assert len(dataset) == 1
    assert dataset.read_mask(0).max() == 5


def test_images_without_masks_are_an_error_that_names_the_first_few(folder):
    for name in "defgh":
        _write(folder / "images" / f"{name}.jpg")
    with pytest.raises(
        DatasetError, match=r"5 of 8 images without a mask.*d\.jpg, e\.jpg, f\.jpg and 2 more"
    ):
        FolderDataset(folder)


def test_missing_folders_and_no_images_are_errors(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        FolderDataset(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"no image in .*: the mask of images/a/b.jpg is masks/a/b.png"):
        FolderDataset(tmp_path)
    for name in ("a.heic", "b.HEIC", "notes"):
        (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=r"whose files end in \.heic \(2\) \(looked for \.png"):
        FolderDataset(tmp_path)
    with pytest.raises(UsageError, match=r"image folder .*nowhere does not exist"):
        FolderDataset(tmp_path, FolderOptions(img_dir="nowhere"))
    with pytest.raises(UsageError, match=r"mask folder .*nowhere does not exist"):
        FolderDataset(tmp_path, FolderOptions(mask_dir="nowhere"))


def test_of_two_mask_folders_one_must_be_chosen(folder):
    (folder / "labels").mkdir()
    with pytest.raises(UsageError, match="masks, labels"):
        FolderDataset(folder)
    assert FolderDataset(folder, FolderOptions(mask_dir="masks")).info.has_masks


def test_the_zero_label_is_reduced(folder):
    dataset = FolderDataset(folder, FolderOptions(reduce_zero_label=True))
    assert [int(dataset.read_mask(index).max()) for index in range(3)] == [0, 255, 1]


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".png"])
def test_images_of_bands_and_wide_masks_are_read(tmp_path, suffix):
    pytest.importorskip("tifffile")
    bands = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5) * 500
    labels = np.full((4, 6), 300, np.uint16)
    labels[0, 0] = 65535
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "images" / "a.npy", bands)
    _write_tif(tmp_path / "images" / "b.tif", bands)
    for name in ("a", "b"):
        if suffix == ".npy":
            np.save(tmp_path / "masks" / f"{name}.npy", labels.astype(np.int64))
        else:
            cv2.imwrite(str(tmp_path / "masks" / f"{name}{suffix}"), labels)
    dataset = FolderDataset(tmp_path, FolderOptions(mask_suffix=suffix, ignore_index=65535))
    assert [dataset.name(index) for index in range(2)] == ["a.npy", "b.tif"]
    decoding = Decoding(library="bands", color="unchanged")
    for index in range(2):
        assert np.array_equal(dataset.read_image(index, decoding), bands)
        assert dataset.read_mask(index).dtype == np.uint16
        assert np.array_equal(dataset.read_mask(index), labels)
    listed = ImageList([dataset.image_path(1)])
    assert np.array_equal(listed.read_image(0, decoding), bands)
    reduced = FolderOptions(mask_suffix=suffix, ignore_index=65535, reduce_zero_label=True)
    assert np.unique(FolderDataset(tmp_path, reduced).read_mask(0)).tolist() == [299, 65535]


def test_labels_above_255_are_refused_where_255_is_ignored(tmp_path):
    _write(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.full((4, 6), 300, np.uint16))
    with pytest.raises(DatasetError, match=r"holds 300.*ignore_index is above 255"):
        FolderDataset(tmp_path).read_mask(0)


def test_more_than_255_classes_ignore_65535(tmp_path):
    _write(tmp_path / "images" / "a.jpg")
    _write(tmp_path / "masks" / "a.png", 255)
    for classes, ignored in ((255, 255), (256, 65535)):
        options = FolderOptions(classes=tuple(map(str, range(classes))))
        dataset = FolderDataset(tmp_path, options)
        assert dataset.info.ignore_index == ignored
        assert dataset.read_mask(0).max() == 255
        assert dataset.read_mask(0).dtype == (np.uint8 if ignored == 255 else np.uint16)


def test_class_names_come_from_the_options_or_a_file(folder):
    assert FolderDataset(folder, FolderOptions(classes=("x", "y"))).info.classes == ("x", "y")
    names = folder / "names.txt"
    names.write_text("road\nsky line\n\n")
    assert FolderDataset(folder, FolderOptions(classes=(str(names),))).info.classes == ("road", "sky line")
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        FolderDataset(folder, FolderOptions(classes=("nowhere.txt",)))


def test_the_fingerprint_follows_names_and_settings_not_what_files_hold(folder):
    first = FolderDataset(folder).info.fingerprint
    assert FolderDataset(folder).info.fingerprint == first
    assert FolderDataset(folder, FolderOptions(ignore_index=0)).info.fingerprint != first
    _write(folder / "masks" / "a.png", 7, size=(40, 60))
    assert FolderDataset(folder).info.fingerprint == first
    (folder / "images" / "a.jpg").rename(folder / "images" / "a2.jpg")
    (folder / "masks" / "a.png").rename(folder / "masks" / "a2.png")
    assert FolderDataset(folder).info.fingerprint != first


def test_a_link_to_a_parent_folder_is_not_followed_forever(folder):
    os.symlink(folder / "images", folder / "images" / "sub" / "again")
    assert len(FolderDataset(folder)) == 3


def test_a_list_of_files_keeps_its_order_and_short_names(tmp_path):
    _write(tmp_path / "one" / "z.jpg", 1)
    _write(tmp_path / "two" / "a.jpg", 2)
    dataset = ImageList([tmp_path / "one" / "z.jpg", tmp_path / "two" / "a.jpg"])
    assert isinstance(dataset, Dataset)
    assert [dataset.name(index) for index in range(2)] == ["z.jpg", "a.jpg"]
    assert dataset.read_image(0, Decoding()).max() < dataset.read_image(1, Decoding()).max()
    assert not dataset.info.has_masks


def test_files_of_equal_names_keep_as_much_of_their_paths_as_tells_them_apart(tmp_path):
    for folder in ("one", "two"):
        _write(tmp_path / folder / "a.jpg")
    dataset = ImageList([tmp_path / "one" / "a.jpg", tmp_path / "two" / "a.jpg"])
    assert [dataset.name(index) for index in range(2)] == ["one/a.jpg", "two/a.jpg"]


def test_a_list_with_missing_or_repeated_files_is_refused(tmp_path):
    _write(tmp_path / "a.jpg")
    with pytest.raises(UsageError, match=r"b\.jpg"):
        ImageList([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    with pytest.raises(UsageError, match="more than once"):
        ImageList([tmp_path / "a.jpg", tmp_path / "." / "a.jpg"])
    with pytest.raises(DatasetError, match="no image"):
        ImageList([])
    with pytest.raises(UsageError, match=r"is a folder.*--dataset"):
        ImageList([tmp_path / "a.jpg", tmp_path])


def test_links_keep_the_names_they_were_given_by(tmp_path, monkeypatch):
    _write(tmp_path / "real" / "a.jpg", 3)
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / name).symlink_to(tmp_path / "real" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    dataset = ImageList([Path("one.jpg"), Path("two.jpg")])
    assert [dataset.name(index) for index in range(2)] == ["one.jpg", "two.jpg"]
    assert dataset.image_path(0) == tmp_path / "one.jpg"


def test_names_never_lead_upwards(tmp_path):
    for folder in ("one", "two"):
        _write(tmp_path / folder / "a.jpg")
    dataset = ImageList([tmp_path / "one" / "a.jpg", tmp_path / "one" / ".." / "two" / "a.jpg"])
    assert [dataset.name(index) for index in range(2)] == ["one/a.jpg", "two/a.jpg"]


def test_the_provider_opens_folders_through_the_hook(folder):
    assert provider.accepts(str(folder)) == Confidence.POSSIBLE
    assert provider.accepts(str(folder / "config.py")) == Confidence.NO
    options = build_options(provider.options, {"ignore_index": "11", "classes": "a b"}, owner="folder")
    dataset = provider.load_dataset(make_request(LoadDatasetRequest, location=str(folder), options=options))
    assert dataset.info.ignore_index == 11
    assert dataset.info.classes == ("a", "b")


def test_the_provider_imports_no_numerical_library():
    code = (
        "import sys, segplug.runtime, segplug.runtime.folder;"
        "print([m for m in ('numpy', 'cv2', 'PIL', 'torch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_masks_may_have_the_suffix_of_their_images(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", np.ones((4, 5), np.uint8))
    assert FolderDataset(tmp_path).mask_path(0) == tmp_path / "masks" / "a.tif"
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.zeros((4, 5), np.uint8))
    assert FolderDataset(tmp_path).mask_path(0) == tmp_path / "masks" / "a.png"


def test_an_image_is_never_its_own_mask(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 5), np.uint8))
    with pytest.raises(DatasetError, match=r"the mask of a\.tif should be a\.png, or give mask_suffix"):
        FolderDataset(tmp_path, FolderOptions(mask_dir="."))
