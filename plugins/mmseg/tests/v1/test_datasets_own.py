"""Classes, loaders and transforms of the user's own; other backends; labels wider than a byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmseg_support.data_sets import SIZE, write_images
from mmseg_support.data_sets1 import PIPELINE, custom, open_test_data, references, their_masks
from PIL import Image
from segplug_mmseg.datasets import MmsegDataset

from segplug.errors import DatasetError
from segplug.preprocessing import Decoding

MODULE = """
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, TRANSFORMS

@DATASETS.register_module(force=True)
class TwoClasses(BaseSegDataset):
    METAINFO = dict(classes=('p', 'q'), palette=[[1, 2, 3], [4, 5, 6]])

@DATASETS.register_module(force=True)
class OwnList(BaseSegDataset):
    METAINFO = dict(classes=('p', 'q'), palette=[[1, 2, 3], [4, 5, 6]])
    def load_data_list(self):
        return super().load_data_list()[::-1]

@DATASETS.register_module(force=True)
class OwnLabelMap(TwoClasses):
    def load_data_list(self):
        found = super().load_data_list()
        found[1]['label_map'] = {0: 1, 1: 0}
        return found

@DATASETS.register_module(force=True)
class Prepared(TwoClasses):
    def prepare_data(self, idx):
        results = super().prepare_data(idx)
        if 'gt_seg_map' in results:
            results['gt_seg_map'] = results['gt_seg_map'] // 2
        if 'data_samples' in results:
            results['data_samples'].gt_sem_seg.data += 1
        if 'img' in results:
            results['img'] = np.concatenate([results['img']] * 2, axis=2)
        return results

@DATASETS.register_module(force=True)
class NoSegmentation(BaseDataset):
    METAINFO = dict(classes=('p', 'q'))
    def load_data_list(self):
        return [dict(img_path=self.data_prefix['img_path'] + '/a.png', seg_fields=[])]

@DATASETS.register_module(force=True)
class NoDataset:
    def __init__(self, **settings):
        pass

@TRANSFORMS.register_module(force=True)
class LoadArray(BaseTransform):
    def __init__(self, dtype=None, flat=False):
        self.dtype, self.flat = dtype, flat
    def transform(self, results):
        image = np.load(results['img_path'])
        image = image if self.dtype is None else image.astype(self.dtype)
        results['img'] = image[..., 0] if self.flat else image
        return results

@TRANSFORMS.register_module(force=True)
class LoadWithMask(LoadImageFromFile):
    def transform(self, results):
        results = super().transform(results)
        results['gt_seg_map'] = (results['img'][..., 0] > 99).astype(np.int64)
        return results

@TRANSFORMS.register_module(force=True)
class OwnAnnotations(LoadAnnotations):
    def transform(self, results):
        results = super().transform(results)
        results['gt_seg_map'][results['gt_seg_map'] == 1] = 2
        return results

@TRANSFORMS.register_module(force=True)
class MergeLabels(BaseTransform):
    def transform(self, results):
        if 'gt_seg_map' in results:
            results['gt_seg_map'] = np.minimum(results['gt_seg_map'].astype(np.int64), 1)
        return results
"""
HEADER = "custom_imports = dict(imports=['my_data'])"


@pytest.fixture(autouse=True)
def my_module(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))


def opened(folder: Path, settings: dict[str, Any]) -> MmsegDataset:
    return open_test_data(folder, settings, header=HEADER)


def without_classes(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "metainfo"}


@pytest.mark.parametrize("kind", ["TwoClasses", "OwnList", "OwnLabelMap", "Prepared"])
@pytest.mark.parametrize("reduces", [False, True])
def test_classes_of_the_users_own(tmp_path, kind, reduces):
    settings = without_classes(custom(tmp_path, type=kind, reduce_zero_label=reduces))
    dataset = opened(tmp_path, settings)
    theirs = their_masks(references(settings))
    assert dataset.info.classes == ("p", "q")
    assert dataset.info.palette == ((1, 2, 3), (4, 5, 6))
    expected = ["b.png", "a.png"] if kind == "OwnList" else ["a.png", "b.png"]
    assert [dataset.name(index) for index in range(2)] == expected
    for index, mask in enumerate(theirs):
        assert np.array_equal(dataset.read_mask(index), mask)
    channels = 6 if kind == "Prepared" else 3
    assert dataset.read_image(0, Decoding()).shape == (*SIZE, channels)


def test_a_class_without_segmentation(tmp_path):
    settings = without_classes(custom(tmp_path, type="NoSegmentation"))
    for key in ("img_suffix",):
        del settings[key]
    dataset = opened(tmp_path, settings)
    assert (len(dataset), dataset.name(0), dataset.info.has_masks) == (1, "a.png", False)
    with pytest.raises(DatasetError, match="NoDataset does not derive from mmengine's BaseDataset"):
        opened(tmp_path, custom(tmp_path, type="NoDataset"))


def test_transforms_of_the_users_own_may_change_the_labels(tmp_path):
    pipelines = (
        [PIPELINE[0], PIPELINE[1], {"type": "MergeLabels"}, PIPELINE[2]],
        [PIPELINE[0], {"type": "MergeLabels"}, PIPELINE[1], PIPELINE[2]],
        [PIPELINE[0], {"type": "OwnAnnotations"}, PIPELINE[2]],
        [{"type": "LoadWithMask"}, PIPELINE[2]],
        [PIPELINE[0], PIPELINE[1], {"type": "MergeLabels"}],
    )
    found = []
    for pipeline in pipelines:
        settings = custom(tmp_path, pipeline=pipeline)
        dataset = opened(tmp_path, settings)
        whole = pipeline if pipeline[-1] == PIPELINE[2] else [*pipeline, PIPELINE[2]]
        theirs = their_masks(references(settings | {"pipeline": whole}))
        for index, mask in enumerate(theirs):
            ours = dataset.read_mask(index)
            assert ours.dtype == np.uint8
            assert np.array_equal(ours, mask)
        found.append((dataset.info.fingerprint, theirs[0].tobytes()))
    assert len({fingerprint for fingerprint, _ in found}) == len(pipelines)
    assert len({mask for _, mask in found}) == 4  # two of them merge after loading


@pytest.mark.parametrize("with_transform", [False, True])
def test_own_transforms_without_a_mask(tmp_path, with_transform):
    np.save(tmp_path / "x.npy", np.zeros((4, 6, 5)))
    pipeline = [{"type": "LoadArray"}, *([{"type": "MergeLabels"}] if with_transform else []), PIPELINE[2]]
    settings = custom(tmp_path, img_suffix=".npy", data_prefix={"img_path": ""}, pipeline=pipeline)
    dataset = opened(tmp_path, settings)
    assert not dataset.info.has_masks
    assert dataset.read_image(0, Decoding()).shape == (4, 6, 5)


@pytest.mark.parametrize("dtype", ["float32", "uint16", "int16", "uint8"])
def test_a_loader_of_the_users_own_gives_what_it_gives(tmp_path, dtype):
    for name in ("a", "b"):
        (tmp_path / "img").mkdir(exist_ok=True)
        np.save(tmp_path / "img" / f"{name}.npy", np.random.default_rng(0).random((*SIZE, 5)) * 1e4)
    stored = np.load(tmp_path / "img" / "a.npy").astype(dtype)
    for flat in (False, True):
        loader = {"type": "LoadArray", "dtype": dtype, "flat": flat}
        dataset = opened(tmp_path, custom(tmp_path, img_suffix=".npy", pipeline=[loader, *PIPELINE[1:]]))
        image = dataset.read_image(0, Decoding(loader="LoadArray"))
        assert image.dtype == dtype
        assert np.array_equal(image, stored[:, :, :1] if flat else stored)
        assert dataset.read_mask(0).shape == SIZE
    (tmp_path / "img" / "a.npy").write_bytes(b"nothing")
    (tmp_path / "img" / "b.npy").unlink()
    for index, reason in ((0, r"a\.npy cannot be read: \w+Error"), (1, r"b\.npy does not exist")):
        with pytest.raises(DatasetError, match=f"the image {tmp_path}/img/{reason}") as caught:
            dataset.read_image(index, Decoding())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["backend_args", "file_client_args"])
def test_another_backend_is_read_by_mmseg_itself(tmp_path, setting):
    args = {"backend": "petrel"}
    pipeline = [{"type": "LoadImageFromFile", setting: args}, *PIPELINE[1:]]
    if setting == "backend_args":
        pipeline[1] = {"type": "LoadAnnotations", setting: args}
    dataset = opened(tmp_path, custom(tmp_path, pipeline=pipeline))
    with pytest.raises(DatasetError, match=r"the image .*a\.png cannot be read: .*petrel"):
        dataset.read_image(0, Decoding())
    if setting == "backend_args":
        with pytest.raises(DatasetError, match=r"the mask .*a\.png cannot be read: .*petrel"):
            dataset.read_mask(0)


def wide(folder: Path, **settings: Any) -> dict[str, Any]:
    """A data set of 300 classes."""
    base = custom(folder, metainfo={"classes": [f"c{number}" for number in range(300)]}, **settings)
    values = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) + 120
    values[0, 0], values[0, 1] = 65535, 0
    for name in ("a", "b"):
        Image.fromarray(values).save(folder / "ann" / f"{name}.png")
    return base


def test_more_classes_than_a_byte_holds(tmp_path):
    """mmseg casts masks to bytes, which cannot hold them."""
    dataset = open_test_data(tmp_path, wide(tmp_path))
    mask = dataset.read_mask(0)
    assert (mask.dtype, mask[0, 0], mask[0, 2], mask[-1, -1]) == (np.uint16, 65535, 122, 311)
    assert dataset.info.ignore_index == 65535
    other = {"type": "IoUMetric", "ignore_index": 7}
    assert open_test_data(tmp_path, wide(tmp_path), other).info.ignore_index == 7
    reduced = open_test_data(tmp_path, wide(tmp_path, reduce_zero_label=True)).read_mask(0)
    assert (reduced[0, 0], reduced[0, 1], reduced[0, 2], reduced[-1, -1]) == (65535, 65535, 121, 310)
    loader = {"type": "LoadAnnotations", "imdecode_backend": "cv2"}
    with pytest.raises(DatasetError, match=r"a\.png is read as bytes, for 300 classes"):
        open_test_data(tmp_path, wide(tmp_path, pipeline=[PIPELINE[0], loader])).read_mask(0)


def test_a_value_that_is_no_label_of_a_byte(tmp_path):
    settings = wide(tmp_path) | {"metainfo": {"classes": ["x", "y"]}}
    with pytest.raises(DatasetError, match=r"ann/a\.png holds \d+, which is no label"):
        open_test_data(tmp_path, settings).read_mask(0)


@pytest.mark.parametrize("backend", ["pillow", "cv2"])
def test_masks_that_cannot_be_read_are_named(tmp_path, backend):
    loader = {"type": "LoadAnnotations", "imdecode_backend": backend}
    dataset = open_test_data(tmp_path, custom(tmp_path, pipeline=[PIPELINE[0], loader]))
    path = tmp_path / "ann" / "a.png"
    for content in (b"no image at all", b"", None):
        path.write_bytes(content) if content is not None else path.unlink()
        with pytest.raises(DatasetError, match=str(path)):
            dataset.read_mask(0)
    dataset.read_mask(1)
    write_images(tmp_path / "ann", ["a"], ".png")
    with pytest.raises(DatasetError, match=r"ann/a\.png"):
        dataset.read_mask(0)
