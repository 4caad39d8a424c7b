"""Every class of mmsegmentation 1.x lists and reads what mmseg's own pipeline gives."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmseg_support.data_sets import SIZE, load, write_images, write_masks
from mmseg_support.data_sets1 import PIPELINE, custom, open_test_data, references, their_masks
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.datasets import MmsegDataset

from segplug.dataset import Dataset
from segplug.errors import DatasetError, UsageError
from segplug.preprocessing import Decoding
from segplug.progress import QuietReporter

CLASSES = {
    # class: (image suffix, mask suffix, needs a list of files)
    "ADE20KDataset": (".jpg", ".png", False),
    "BDD100KDataset": (".jpg", ".png", False),
    "COCOStuffDataset": (".jpg", "_labelTrainIds.png", False),
    "ChaseDB1Dataset": (".png", "_1stHO.png", False),
    "CityscapesDataset": ("_leftImg8bit.png", "_gtFine_labelTrainIds.png", False),
    "DRIVEDataset": (".png", "_manual1.png", False),
    "DarkZurichDataset": ("_rgb_anon.png", "_gt_labelTrainIds.png", False),
    "HRFDataset": (".png", ".png", False),
    "ISPRSDataset": (".png", ".png", False),
    "LIPDataset": (".jpg", ".png", False),
    "LoveDADataset": (".png", ".png", False),
    "MapillaryDataset_v1": (".jpg", ".png", False),
    "MapillaryDataset_v2": (".jpg", ".png", False),
    "NightDrivingDataset": ("_leftImg8bit.png", "_gtCoarse_labelTrainIds.png", False),
    "PascalContextDataset": (".jpg", ".png", False),
    "PascalContextDataset59": (".jpg", ".png", False),
    "PascalVOCDataset": (".jpg", ".png", True),
    "PotsdamDataset": (".png", ".png", False),
    "REFUGEDataset": (".png", ".png", False),
    "STAREDataset": (".png", ".ah.png", False),
    "SynapseDataset": (".jpg", ".png", False),
    "iSAIDDataset": (".png", "_instance_color_RGB.png", False),
}
SPECIAL = ("BaseSegDataset", "DecathlonDataset", "DSDLSegDataset")  # have a test each
REFUSED = ("BaseCDDataset", "LEVIRCDDataset", "NYUDataset", "MultiImageMixDataset")


def make(folder: Path, kind: str, **settings: Any) -> dict[str, Any]:
    """Files of a data-set class, and the settings that find them."""
    image_suffix, mask_suffix, needs_list = CLASSES[kind]
    for name, seed in (("b", 0), ("a", 1), ("sub/c", 2)):
        path = folder / "img" / name
        write_images(path.parent, [path.name], image_suffix, seed)
        path = folder / "ann" / name
        write_masks(path.parent, [path.name], mask_suffix, labels=8, seed=seed)
    if needs_list:
        (folder / "list.txt").write_text("b\na\nsub/c\n")
        settings["ann_file"] = "list.txt"
    prefix = {"img_path": "img", "seg_map_path": "ann"}
    return {"type": kind, "data_root": str(folder), "data_prefix": prefix, "pipeline": PIPELINE} | settings


def assert_read_alike(dataset: MmsegDataset, own: Any) -> None:
    """The same images and masks in the same order, with the same classes and colours."""
    assert isinstance(dataset, Dataset)
    assert len(dataset) == len(own)
    assert dataset.info.classes == tuple(own.metainfo["classes"])
    assert [list(colour) for colour in dataset.info.palette] == [list(c) for c in own.metainfo["palette"]]
    for index, theirs in enumerate(their_masks(own)):
        assert str(dataset.image_path(index)) == own.get_data_info(index)["img_path"]
        assert str(dataset.mask_path(index)) == own.get_data_info(index)["seg_map_path"]
        expected = own[index]["inputs"].numpy().transpose(1, 2, 0)
        assert np.array_equal(dataset.read_image(index, Decoding()), expected)
        ours = dataset.read_mask(index)
        assert ours.dtype == np.uint8
        assert np.array_equal(ours, theirs)


def test_the_table_above_is_complete():
    import_mmseg()
    from mmseg.registry import DATASETS

    mmsegs = {name for name, kind in DATASETS.module_dict.items() if kind.__module__.startswith("mmseg.")}
    assert mmsegs == {*CLASSES, *SPECIAL, *REFUSED}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_of_mmseg(tmp_path, kind):
    settings = make(tmp_path, kind)
    dataset = open_test_data(tmp_path, settings)
    assert_read_alike(dataset, references(settings))
    suffix = CLASSES[kind][0]
    names = ["b", "a", "sub/c"] if CLASSES[kind][2] else ["a", "b", "sub/c"]
    assert [dataset.name(index) for index in range(3)] == [name + suffix for name in names]


@pytest.mark.parametrize("kind", ["CityscapesDataset", "ADE20KDataset"])
@pytest.mark.parametrize("loader", [{}, {"imdecode_backend": "cv2"}])
def test_chosen_classes_are_mapped_after_the_zero_label_is_reduced(tmp_path, kind, loader):
    chosen = {"CityscapesDataset": ["building", "road"], "ADE20KDataset": ["sky", "wall", "floor"]}[kind]
    pipeline = [PIPELINE[0], {"type": "LoadAnnotations", **loader}, PIPELINE[2]]
    settings = make(tmp_path, kind, metainfo={"classes": chosen}, pipeline=pipeline)
    dataset, own = open_test_data(tmp_path, settings), references(settings)
    assert_read_alike(dataset, own)
    assert dataset.info.classes == tuple(chosen)
    found = np.unique(np.stack([dataset.read_mask(index) for index in range(3)]))
    assert {0, 1, 255} <= set(found.tolist())  # else nothing was mapped, and nothing was compared


@pytest.mark.parametrize("backend", ["pillow", "cv2"])
@pytest.mark.parametrize("reduces", [False, True])
@pytest.mark.parametrize("in_loader", [False, True])
def test_the_zero_label_is_reduced_once_in_both_places(tmp_path, reduces, in_loader, backend):
    loader = {"type": "LoadAnnotations", "imdecode_backend": backend}
    if in_loader:
        loader["reduce_zero_label"] = reduces
    settings = custom(tmp_path, reduce_zero_label=reduces, pipeline=[PIPELINE[0], loader, PIPELINE[2]])
    reporter = QuietReporter()
    dataset = open_test_data(tmp_path, settings, reporter=reporter)
    assert_read_alike(dataset, references(settings))
    assert reporter.warnings == []


@pytest.mark.parametrize("reduces", [False, True])
def test_two_places_that_disagree_are_refused_as_mmseg_refuses_them(tmp_path, reduces):
    loader = {"type": "LoadAnnotations", "reduce_zero_label": not reduces}
    settings = custom(tmp_path, reduce_zero_label=reduces, pipeline=[PIPELINE[0], loader, PIPELINE[2]])
    with pytest.raises(AssertionError, match="Initialize dataset with `reduce_zero_label`"):
        their_masks(references(settings))
    with pytest.raises(
        DatasetError, match=f"reduce_zero_label is {reduces}, and its LoadAnnotations"
    ) as caught:
        open_test_data(tmp_path, settings)
    assert f"test_dataloader.dataset.reduce_zero_label={not reduces}" in str(caught.value.hint)


@pytest.mark.parametrize(
    "change",
    [
        {"indices": 1},
        {"indices": [1]},
        {"indices": -1},
        {"serialize_data": False},
        {"lazy_init": True},
        {"test_mode": True},
        {"filter_cfg": {"min": 1}},
        {"ann_file": "list.txt"},
        {"data_root": None},
        {"metainfo": {"classes": "CLASSES"}},
        {"metainfo": {"classes": ["x", "y"], "palette": [[1, 2, 3], [4, 5, 6]]}},
        {"img_suffix": "a.png", "seg_map_suffix": "a.png"},
        {"backend_args": {"backend": "local"}},
    ],
    ids=str,
)
def test_settings(tmp_path, change):
    settings = custom(tmp_path) | change
    (tmp_path / "list.txt").write_text("b\n")
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    if settings["data_root"] is None:
        settings["data_prefix"] = {"img_path": str(tmp_path / "img"), "seg_map_path": str(tmp_path / "ann")}
    if settings["metainfo"]["classes"] == "CLASSES":
        settings["metainfo"] = {"classes": str(tmp_path / "names.txt")}
    assert_read_alike(open_test_data(tmp_path, settings), references(settings | {"lazy_init": False}))


def test_decathlon_lists_what_its_file_says(tmp_path):
    settings = custom(tmp_path, type="DecathlonDataset", ann_file="dataset.json")
    del settings["metainfo"]
    sample = {"image": "./img/a.png", "label": "./ann/a.png"}
    listed = {"labels": {"0": "p", "1": "q"}, "training": [sample], "test": [sample, sample]}
    (tmp_path / "dataset.json").write_text(json.dumps(listed))
    dataset = open_test_data(tmp_path, settings)
    own = references(settings)
    assert dataset.info.classes == tuple(own.metainfo["classes"]) == ("p", "q")
    assert len(dataset) == len(own) == 1
    assert np.array_equal(dataset.read_mask(0), their_masks(own)[0])
    assert len(open_test_data(tmp_path, settings | {"test_mode": True})) == 2


def test_dsdl_lists_what_its_package_says(tmp_path, monkeypatch):
    """The package is not installed: what stands for it gives the same two things."""
    import_mmseg()
    from mmseg.datasets import dsdl

    file = types.SimpleNamespace

    class Listed(list):
        class_names = ["p", "q", "r"]  # noqa: RUF012

        def __init__(self, dsdl_yaml: str, **_: Any) -> None:
            assert Path(dsdl_yaml).is_file()
            super().__init__(
                {"Image": [file(location=f"{name}.png")], "LabelMap": [file(location=f"{name}.png")]}
                for name in ("a", "b")
            )

    (tmp_path / "set.yaml").write_text("")
    settings = custom(tmp_path, type="DSDLSegDataset", ann_file="set.yaml", used_labels=["q", "background"])
    del settings["metainfo"], settings["img_suffix"]
    with pytest.raises(DatasetError, match="Package dsdl is not installed"):
        open_test_data(tmp_path, settings)
    monkeypatch.setattr(dsdl, "DSDLDataset", Listed)
    dataset, own = open_test_data(tmp_path, settings), references(settings)
    assert len(dataset) == 2
    assert dataset.info.classes == tuple(own.metainfo["classes"]) == ("q", "background")
    for ours, theirs in zip(map(dataset.read_mask, range(2)), their_masks(own), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("LEVIRCDDataset", "two images for each sample"),
        ("BaseCDDataset", "two images for each sample"),
        ("NYUDataset", "its annotations are depths"),
        ("MultiImageMixDataset", "it mixes images"),
        ("ClassBalancedDataset", "for training"),
    ],
)
@pytest.mark.parametrize("scope", ["", "mmseg."])
def test_what_cannot_be_read_is_refused_by_name(tmp_path, kind, reason, scope):
    with pytest.raises(DatasetError, match=f"{kind}: .*{reason}"):
        open_test_data(tmp_path, custom(tmp_path, type=scope + kind))


@pytest.mark.parametrize(
    "transform",
    [
        *("LoadBiomedicalImageFromFile", "LoadBiomedicalAnnotation", "LoadBiomedicalData"),
        *("LoadMultipleRSImageFromFile", "LoadDepthAnnotation"),
    ],
)
def test_loaders_of_other_things_are_refused_by_name(tmp_path, transform):
    with pytest.raises(DatasetError, match=f"pipeline has {transform}, which loads"):
        open_test_data(tmp_path, custom(tmp_path, pipeline=[{"type": transform}]))


def test_concatenated_and_repeated_data_sets(tmp_path):
    second = custom(tmp_path / "2", indices=1)
    repeated = {"type": "RepeatDataset", "times": 2, "dataset": custom(tmp_path / "1")}
    settings = {"type": "ConcatDataset", "datasets": [repeated, second]}
    dataset, own = open_test_data(tmp_path, settings), references(settings)
    names = [dataset.name(index) for index in range(len(dataset))]
    assert names == ["0/a.png", "0/b.png", "0/repeat1/a.png", "0/repeat1/b.png", "1/a.png"]
    assert dataset.info.parts == ()  # 1.x scores all of them together
    for index, theirs in enumerate(their_masks(own)):
        assert np.array_equal(dataset.read_mask(index), theirs)
        assert str(dataset.image_path(index)) == own.get_data_info(index)["img_path"]
    listed = open_test_data(tmp_path, [repeated, second])
    assert [listed.name(index) for index in range(len(listed))] == names


def test_an_image_that_is_listed_twice_counts_twice(tmp_path):
    inner = custom(tmp_path, indices=[1, 0, 1])
    dataset = open_test_data(tmp_path, {"type": "RepeatDataset", "times": 2, "dataset": inner})
    names = ["b.png", "a.png", "repeat1/b.png", "repeat2/b.png", "repeat1/a.png", "repeat3/b.png"]
    assert [dataset.name(index) for index in range(len(dataset))] == names


def test_data_sets_that_mmengine_does_not_concatenate(tmp_path):
    parts = [custom(tmp_path / "1"), custom(tmp_path / "2", reduce_zero_label=True)]
    with pytest.raises(DatasetError, match="does not match meta information of the first"):
        open_test_data(tmp_path, {"type": "ConcatDataset", "datasets": parts})
    settings = {"type": "ConcatDataset", "datasets": parts, "ignore_keys": "reduce_zero_label"}
    dataset = open_test_data(tmp_path, settings)
    for index, theirs in enumerate(their_masks(references(settings))):
        assert np.array_equal(dataset.read_mask(index), theirs)


def test_a_data_set_without_masks(tmp_path):
    reporter = QuietReporter()
    for prefix in ({"img_path": "img"}, {"img_path": "img", "seg_map_path": None}):
        dataset = open_test_data(tmp_path, custom(tmp_path, data_prefix=prefix), reporter=reporter)
        assert not dataset.info.has_masks
        with pytest.raises(DatasetError, match=r"no mask for a\.png"):
            dataset.read_mask(0)
        assert dataset.read_image(0, Decoding()).shape == (*SIZE, 3)
    assert reporter.warnings == []
    prefix = {"img_path": "img", "seg_map_path": "none"}
    assert not open_test_data(
        tmp_path, custom(tmp_path, data_prefix=prefix), reporter=reporter
    ).info.has_masks
    assert "data_prefix.seg_map_path" in reporter.warnings[0]


def test_an_evaluator_that_only_formats(tmp_path):
    evaluator = {"type": "IoUMetric", "format_only": True, "output_dir": str(tmp_path / "out")}
    dataset = open_test_data(tmp_path, custom(tmp_path), evaluator)
    assert not dataset.info.has_masks
    assert dataset.info.masks_hint == "set --cfg-options test_evaluator.format_only=False"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"data_prefix": {"img_path": "none"}},
            r"data_prefix\.img_path is the folder .*none, which is not there",
        ),
        ({"data_root": "elsewhere"}, r"--cfg-options test_dataloader\.dataset\.data_root="),
        ({"ann_file": "none.txt"}, r"dataset\.ann_file is the file .*none\.txt, which is not there"),
        ({"img_suffix": ".tiff"}, "nothing ends with '.tiff'"),
        ({"metainfo": None, "test_mode": True}, "classes` should be specified"),
        ({"type": "NoSuchDataset"}, "NoSuchDataset is not in the"),
        ({"type": "CityscapesDataset"}, "is not a subset of classes"),
        ({"type": None}, "has no type"),
        ({"type": "RepeatDataset"}, "RepeatDataset, which needs a `dataset` and `times`"),
        ({"type": "ConcatDataset"}, "ConcatDataset, which needs a list of `datasets`"),
        ({"data_root": 5}, r"dataset\.data_root must be a path, not 5"),
        ({"ann_file": 5}, r"dataset\.ann_file must be a path, not 5"),
        ({"data_prefix": "img"}, r"data_prefix must be a dict, not 'img'"),
        ({"pipeline": 5}, r"dataset\.pipeline must be a list of dicts with a type, not 5"),
        ({"pipeline": [{"type": "NotKnownAnywhere"}]}, "NotKnownAnywhere"),
        ({"pipeline": [{"type": "LoadAnnotations", "nonsense": 1}]}, "nonsense"),
    ],
)
def test_data_that_cannot_be_opened_says_what_to_set(tmp_path, change, reason):
    with pytest.raises(DatasetError) as caught:
        open_test_data(tmp_path, custom(tmp_path) | change)
    assert "\n" not in str(caught.value)
    text = f"{caught.value} {caught.value.hint}"
    assert re.search(reason, text), text


def test_a_config_without_a_test_dataloader(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("model = dict(type='X', data_preprocessor=None)\ndefault_scope = 'mmseg'\n")
    with pytest.raises(DatasetError, match=r"has no test_dataloader\.dataset"):
        load(path)
    with pytest.raises(UsageError, match="there is no config"):
        load(tmp_path / "none.py")
    with pytest.raises(DatasetError, match="num_batch_per_epoch leaves images out"):
        open_test_data(tmp_path, custom(tmp_path), **{"test_dataloader.num_batch_per_epoch": "1"})


def test_an_empty_list_of_files_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(DatasetError, match=r"the list .*list\.txt is empty"):
        open_test_data(tmp_path, custom(tmp_path, ann_file="list.txt"))


def test_the_fingerprint_changes_with_samples_and_reading(tmp_path):
    (tmp_path / "list.txt").write_text("a\n")
    same = [open_test_data(tmp_path, custom(tmp_path)).info.fingerprint for _ in range(2)]
    assert same[0] == same[1] != ""
    cv2_masks = {"type": "LoadAnnotations", "imdecode_backend": "cv2"}
    others = [
        {"ann_file": "list.txt"},
        {"indices": [1]},
        {"reduce_zero_label": True},
        {"metainfo": {"classes": ["x", "y"]}},
        {"pipeline": [{"type": "LoadImageFromFile", "imdecode_backend": "pillow"}]},
        {"pipeline": [PIPELINE[0], cv2_masks]},
        {"data_prefix": {"img_path": "img"}},
    ]
    prints = {open_test_data(tmp_path, custom(tmp_path, **change)).info.fingerprint for change in others}
    ignored = {"type": "IoUMetric", "ignore_index": 3}
    prints.add(open_test_data(tmp_path, custom(tmp_path), ignored).info.fingerprint)
    assert len(prints | {same[0]}) == 2 + len(others)


def test_images_are_decoded_as_the_model_wants(tmp_path):
    """Whatever the loader's settings are: the model's may come from another config."""
    loader = {"type": "LoadImageFromFile", "imdecode_backend": "pillow", "to_float32": True}
    dataset = open_test_data(tmp_path, custom(tmp_path, pipeline=[loader, *PIPELINE[1:]]))
    path = str(tmp_path / "img" / "a.png")
    assert np.array_equal(dataset.read_image(0, Decoding(library="pillow")), cv2.imread(path))


def test_a_class_in_place_of_its_name(tmp_path):
    """As a new-style config has it."""
    settings = custom(tmp_path)
    names = (
        "BaseSegDataset",
        "LoadImageFromFile",
        "LoadAnnotations",
        "PackSegInputs",
        "RepeatDataset",
        "IoUMetric",
    )
    text = repr({"type": "RepeatDataset", "times": 2, "dataset": settings})
    evaluator = "{'type': 'IoUMetric', 'ignore_index': 7}"
    for name in names:
        text, evaluator = text.replace(f"'{name}'", name), evaluator.replace(f"'{name}'", name)
    (tmp_path / "new.py").write_text(
        "from mmengine.config import read_base\n"
        "from mmengine.dataset import RepeatDataset\n"
        "from mmcv.transforms import LoadImageFromFile\n"
        "from mmseg.datasets import BaseSegDataset\n"
        "from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs\n"
        "from mmseg.evaluation import IoUMetric\n"
        f"test_dataloader = dict(dataset={text})\ntest_evaluator = {evaluator}\n"
    )
    dataset = load(tmp_path / "new.py")
    assert len(dataset) == 4
    assert dataset.info.ignore_index == 7
    for index, theirs in enumerate(their_masks(references(settings))):
        assert np.array_equal(dataset.read_mask(index), theirs)
