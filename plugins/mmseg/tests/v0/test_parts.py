"""How the samples of a data set are read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg_support.data_sets import SIZE, custom, load, open_dataset
from PIL import Image
from segplug_mmseg.datasets import MmsegDataset

from segplug.errors import DatasetError
from segplug.preprocessing import Decoding


def test_images_are_decoded_as_the_model_wants(tmp_path):
    """Whatever the loader's settings are: the model's may come from another config."""
    loader = {"type": "LoadImageFromFile", "imdecode_backend": "pillow", "to_float32": True}
    dataset = open_dataset(tmp_path, custom(tmp_path, pipeline=[loader]))
    path = str(tmp_path / "img" / "a.png")
    assert np.array_equal(dataset.read_image(0, Decoding(library="pillow")), cv2.imread(path))
    grey = dataset.read_image(0, Decoding(color="grayscale"))
    assert np.array_equal(grey, cv2.imread(path, cv2.IMREAD_GRAYSCALE)[:, :, None])


def test_a_loader_that_reads_from_elsewhere_is_used_itself(tmp_path):
    loader = {"type": "LoadImageFromFile", "file_client_args": {"backend": "disk", "prefix": None}}
    loader |= {"to_float32": True, "color_type": "grayscale"}
    dataset = open_dataset(tmp_path, custom(tmp_path, pipeline=[loader]))
    image = dataset.read_image(1, Decoding())
    assert (image.dtype, image.shape) == (np.float32, (*SIZE, 1))


OWN_LOADER = """
import os.path as osp
import numpy as np
from mmseg.datasets import DATASETS, PIPELINES, CustomDataset

@PIPELINES.register_module(force=True)
class LoadArray:
    def __init__(self, dtype=None, flat=False):
        self.dtype, self.flat = dtype, flat
    def __call__(self, results):
        path = osp.join(results['img_prefix'], results['img_info']['filename'])
        image = np.load(path)
        image = image if self.dtype is None else image.astype(self.dtype)
        assert results['seg_fields'] == []
        results['img'] = image[..., 0] if self.flat else image
        return results

@DATASETS.register_module(force=True)
class Pairs(CustomDataset):
    def prepare_test_img(self, idx):
        results = super().prepare_test_img(idx)
        results['img'] = np.concatenate([results['img']] * 2, axis=2)
        return results
"""


@pytest.fixture
def own_loader(tmp_path, monkeypatch):
    """Settings of a data set of ``.npy`` files with a loader of the user's own, and a function to open it."""
    (tmp_path / "my_loader.py").write_text(OWN_LOADER)
    monkeypatch.syspath_prepend(str(tmp_path))

    def opened(loader: dict, **settings) -> MmsegDataset:
        settings = custom(tmp_path, img_suffix=".npy", pipeline=[loader], **settings)
        for name in ("a", "b"):
            np.save(tmp_path / "img" / f"{name}.npy", np.random.default_rng(0).random((*SIZE, 5)) * 1e5)
        path = tmp_path / "config.py"
        path.write_text(f"custom_imports = dict(imports=['my_loader'])\ndata = dict(test={settings!r})\n")
        return load(path)

    return opened


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int16", "uint8"])
def test_a_loader_of_the_users_own_gives_what_it_gives(tmp_path, own_loader, dtype):
    image = own_loader({"type": "LoadArray", "dtype": dtype}).read_image(0, Decoding(loader="LoadArray"))
    assert image.dtype == dtype
    assert np.array_equal(image, np.load(tmp_path / "img" / "a.npy").astype(dtype))
    flat = own_loader({"type": "LoadArray", "dtype": dtype, "flat": True}).read_image(0, Decoding())
    assert np.array_equal(flat, image[:, :, :1])


def test_a_class_that_prepares_images_itself(tmp_path, own_loader):
    image = own_loader({"type": "LoadArray"}, type="Pairs").read_image(0, Decoding())
    assert np.array_equal(image[:, :, 5:], np.load(tmp_path / "img" / "a.npy"))


@pytest.mark.parametrize("dtype", ["complex64", "bool", "U8"])
def test_what_a_loader_gives_that_is_no_image(tmp_path, own_loader, dtype):
    dataset = own_loader({"type": "LoadArray", "dtype": dtype})
    with pytest.raises(DatasetError, match=rf"{tmp_path}/img/a\.npy is loaded as .*not as numbers"):
        dataset.read_image(0, Decoding())


def test_errors_of_a_loader_name_the_file(tmp_path, own_loader):
    dataset = own_loader({"type": "LoadArray"})
    (tmp_path / "img" / "a.npy").write_bytes(b"nothing")
    (tmp_path / "img" / "b.npy").unlink()
    for index, reason in ((0, r"a\.npy cannot be read: \w+Error"), (1, r"b\.npy does not exist")):
        with pytest.raises(DatasetError, match=f"the image {tmp_path}/img/{reason}") as caught:
            dataset.read_image(index, Decoding())
        assert "\n" not in str(caught.value)


def wide(folder: Path, **settings) -> dict:
    """A data set of 300 classes."""
    base = custom(folder, classes=[f"c{number}" for number in range(300)], **settings)
    values = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) + 120
    values[0, 0], values[0, 1] = 65535, 0
    for name in ("a", "b"):
        Image.fromarray(values).save(folder / "ann" / f"{name}.png")
    return base


def test_more_classes_than_a_byte_holds(tmp_path):
    """mmseg casts masks to bytes, which cannot hold them."""
    dataset = open_dataset(tmp_path, wide(tmp_path))
    mask = dataset.read_mask(0)
    assert (mask.dtype, mask[0, 0], mask[0, 2], mask[-1, -1]) == (np.uint16, 65535, 122, 311)
    assert dataset.info.ignore_index == 65535
    assert open_dataset(tmp_path, wide(tmp_path, ignore_index=7)).info.ignore_index == 7
    reduced = open_dataset(tmp_path, wide(tmp_path, reduce_zero_label=True)).read_mask(0)
    assert (reduced[0, 0], reduced[0, 1], reduced[0, 2], reduced[-1, -1]) == (65535, 65535, 121, 310)
    with pytest.raises(DatasetError, match=r"a\.png is read as bytes, for 300 classes"):
        open_dataset(tmp_path, wide(tmp_path, gt_seg_map_loader_cfg={"imdecode_backend": "cv2"})).read_mask(0)


def test_a_value_that_is_no_label_of_a_byte(tmp_path):
    settings = wide(tmp_path) | {"classes": ["x", "y"]}
    with pytest.raises(DatasetError, match=r"ann/a\.png holds \d+, which is no label"):
        open_dataset(tmp_path, settings).read_mask(0)


@pytest.mark.parametrize(("backend", "library"), [("pillow", "pillow"), ("cv2", "opencv")])
def test_files_that_cannot_be_read_are_named(tmp_path, backend, library):
    loaders = [{"type": "LoadImageFromFile", "imdecode_backend": backend}]
    settings = custom(tmp_path, pipeline=loaders, gt_seg_map_loader_cfg={"imdecode_backend": backend})
    dataset = open_dataset(tmp_path, settings)
    for folder, read in (
        ("img", lambda index: dataset.read_image(index, Decoding(library=library))),
        ("ann", dataset.read_mask),
    ):
        path = tmp_path / folder / "a.png"
        for content in (b"no image at all", b"", None):
            path.write_bytes(content) if content is not None else path.unlink()
            with pytest.raises(DatasetError, match=str(path)):
                read(0)
        read(1)
    Image.new("RGB", (16, 12)).save(tmp_path / "ann" / "a.png")
    with pytest.raises(DatasetError, match=r"ann/a\.png"):
        dataset.read_mask(0)
