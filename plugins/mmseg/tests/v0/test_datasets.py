from __future__ import annotations

import concurrent.futures
import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from mmseg_support.data_sets import SIZE, custom, load, open_dataset, write_images, write_masks
from PIL import Image
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.datasets import MmsegDataset

from segplug.dataset import Dataset
from segplug.errors import DatasetError, UsageError
from segplug.model import ModelMeta
from segplug.preprocessing import Decoding
from segplug.progress import QuietReporter
from segplug.runtime.sinks import LabelMapSink
from segplug.sink import ImageResult, RunContext

CLASSES = {
    # class: (image suffix, mask suffix, needs a split file)
    "ADE20KDataset": (".jpg", ".png", False),
    "COCOStuffDataset": (".jpg", "_labelTrainIds.png", False),
    "ChaseDB1Dataset": (".png", "_1stHO.png", False),
    "CityscapesDataset": ("_leftImg8bit.png", "_gtFine_labelTrainIds.png", False),
    "DRIVEDataset": (".png", "_manual1.png", False),
    "DarkZurichDataset": ("_rgb_anon.png", "_gt_labelTrainIds.png", False),
    "FaceOccludedDataset": (".jpg", ".png", True),
    "HRFDataset": (".png", ".png", False),
    "ISPRSDataset": (".png", ".png", False),
    "LoveDADataset": (".png", ".png", False),
    "NightDrivingDataset": ("_leftImg8bit.png", "_gtCoarse_labelTrainIds.png", False),
    "PascalContextDataset": (".jpg", ".png", True),
    "PascalContextDataset59": (".jpg", ".png", True),
    "PascalVOCDataset": (".jpg", ".png", True),
    "PotsdamDataset": (".png", ".png", False),
    "STAREDataset": (".png", ".ah.png", False),
    "iSAIDDataset": (".png", "_instance_color_RGB.png", False),
}


def make(folder: Path, kind: str, names: tuple[str, ...] = ("b", "a")) -> dict:
    """Files of a data-set class, and the settings that find them."""
    image_suffix, mask_suffix, needs_split = CLASSES[kind]
    write_images(folder / "img", list(names), image_suffix)
    write_masks(folder / "ann", list(names), mask_suffix, labels=8)
    settings = {"type": kind, "data_root": str(folder), "img_dir": "img", "ann_dir": "ann"}
    if needs_split:
        (folder / "split.txt").write_text("\n".join(names) + "\n")
        settings["split"] = "split.txt"
    return settings | {"pipeline": [{"type": "LoadImageFromFile"}, {"type": "NotKnownAnywhere"}]}


def reference(settings: dict):
    """The object that mmseg makes for the same settings."""
    import_mmseg()
    from mmseg.datasets import build_dataset

    settings = copy.deepcopy(settings) | {"test_mode": True, "pipeline": [{"type": "LoadImageFromFile"}]}
    return build_dataset(settings)


def areas(prediction: np.ndarray, labels: np.ndarray, classes: int, ignore: int) -> list[list[float]]:
    """Intersection, union, predicted and true areas by definition."""
    kept = labels != ignore
    hits = [np.sum((prediction == c) & (labels == c) & kept) for c in range(classes)]
    predicted = [np.sum((prediction == c) & kept) for c in range(classes)]
    true = [np.sum((labels == c) & kept) for c in range(classes)]
    union = [p + t - h for p, t, h in zip(predicted, true, hits, strict=True)]
    return [[float(value) for value in row] for row in (hits, union, predicted, true)]


def assert_scored_like_mmseg(dataset: MmsegDataset, own) -> None:
    random = np.random.default_rng(1)
    classes = len(own.CLASSES)
    assert len(dataset) == len(own)
    by_name = {info["filename"]: index for index, info in enumerate(own.img_infos)}
    for index in range(len(dataset)):
        labels = dataset.read_mask(index)
        assert labels.dtype == np.uint8
        prediction = random.integers(0, classes, labels.shape)
        theirs = own.pre_eval([prediction], [by_name[dataset.name(index)]])[0]
        ours = areas(prediction, labels, classes, dataset.info.ignore_index)
        assert ours == [area.tolist() for area in theirs]


def test_the_table_above_is_complete():
    import_mmseg()
    from mmseg.datasets import DATASETS

    wrappers = {"ConcatDataset", "RepeatDataset", "MultiImageMixDataset", "CustomDataset"}
    assert set(CLASSES) == set(DATASETS.module_dict) - wrappers


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_of_mmseg(tmp_path, kind):
    settings = make(tmp_path, kind)
    dataset = open_dataset(tmp_path, settings)
    own = reference(settings)
    assert isinstance(dataset, Dataset)
    assert dataset.info.classes == tuple(own.CLASSES)
    assert [list(colour) for colour in dataset.info.palette] == [list(colour) for colour in own.PALETTE]
    assert dataset.info.has_masks
    suffix = CLASSES[kind][0]
    names = ["b", "a"] if CLASSES[kind][2] else ["a", "b"]
    assert [dataset.name(index) for index in range(2)] == [name + suffix for name in names]
    for index in range(2):
        expected = cv2.imread(str(tmp_path / "img" / dataset.name(index)))
        assert np.array_equal(dataset.read_image(index, Decoding()), expected)
    assert_scored_like_mmseg(dataset, own)


@pytest.mark.parametrize("in_loader", [False, True])
@pytest.mark.parametrize("in_dataset", [False, True])
@pytest.mark.parametrize("backend", ["pillow", "cv2"])
def test_zero_label_reduction_is_mmsegs_even_twice(tmp_path, in_loader, in_dataset, backend):
    loader = {"reduce_zero_label": in_loader, "imdecode_backend": backend}
    settings = custom(tmp_path, reduce_zero_label=in_dataset, gt_seg_map_loader_cfg=loader)
    assert_scored_like_mmseg(open_dataset(tmp_path, settings), reference(settings))


@pytest.mark.parametrize("backend", ["pillow", "cv2"])
def test_chosen_classes_are_mapped(tmp_path, backend):
    """The -1 that mmseg writes into bytes is refused by numpy 2; with numpy 1 it became 255."""
    settings = make(tmp_path, "CityscapesDataset")
    settings |= {"classes": ["building", "road"], "gt_seg_map_loader_cfg": {"imdecode_backend": backend}}
    dataset = open_dataset(tmp_path, settings)
    stored = np.array(Image.open(tmp_path / "ann" / "a_gtFine_labelTrainIds.png"))
    expected = np.full(stored.shape, 255)
    expected[stored == 2], expected[stored == 0], expected[stored == 254] = 0, 1, 254
    assert np.array_equal(dataset.read_mask(0), expected)
    assert dataset.info.classes == ("building", "road")
    assert dataset.info.palette == ((70, 70, 70), (128, 64, 128))
    assert dataset.info.label_format.ids == {0: 11, 1: 7}


def test_own_ignore_index_suffixes_and_class_file(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\nthree\n")
    settings = custom(tmp_path, ignore_index=3, classes=str(names))
    dataset = open_dataset(tmp_path, settings)
    assert dataset.info.classes == ("one", "two", "three")
    assert dataset.info.ignore_index == 3
    assert len(dataset.info.palette) == 3
    assert_scored_like_mmseg(dataset, reference(settings))


def test_formats_of_evaluation_servers(tmp_path):
    cityscapes = open_dataset(tmp_path, make(tmp_path / "c", "NightDrivingDataset")).info.label_format
    assert [cityscapes.ids[label] for label in (0, 1, 10, 18)] == [7, 8, 23, 33]
    assert cityscapes.palette[26] == (0, 0, 142)
    assert len(cityscapes.palette) == 34
    own = reference(make(tmp_path / "c", "CityscapesDataset"))
    by_label = [cityscapes.palette[cityscapes.ids[label]] for label in range(19)]
    theirs = [tuple(colour) for colour in own.PALETTE]
    assert [pair for pair in zip(by_label, theirs, strict=True) if pair[0] != pair[1]] == []
    ade = open_dataset(tmp_path, make(tmp_path / "a", "ADE20KDataset")).info.label_format
    assert (ade.ids[0], ade.ids[149], ade.palette) == (1, 150, None)
    assert open_dataset(tmp_path, make(tmp_path / "v", "PascalVOCDataset")).info.label_format is None


LABELS = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE)


def write_label_maps(dataset: MmsegDataset, folder: Path) -> list[Path]:
    """``LABELS``, as far as there are classes, written for every image."""
    classes = len(dataset.info.classes)
    sink = LabelMapSink(folder)
    meta = ModelMeta(name="m", classes=dataset.info.classes, out_channels=classes)
    sink.open(RunContext(meta=meta, dataset=dataset, reporter=QuietReporter(), spool=None))
    for index in range(len(dataset)):
        sink.consume(ImageResult(index, dataset.name(index), LABELS % classes, image=None, mask=None))
    sink.close(finished=True)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind", ["LoveDADataset", "ADE20KDataset"])
def test_label_maps_are_written_as_mmseg_formats_them(tmp_path, kind):
    settings = make(tmp_path, kind)
    own = reference(settings)
    labels = LABELS.astype(np.int64) % len(own.CLASSES)
    own.format_results([labels] * 2, str(tmp_path / "theirs"), indices=[0, 1])
    theirs = sorted((tmp_path / "theirs").iterdir())
    ours = write_label_maps(open_dataset(tmp_path, settings), tmp_path / "ours")
    assert [path.name for path in ours] == [path.name for path in theirs]
    for path, other in zip(ours, theirs, strict=True):
        assert Image.open(path).mode == Image.open(other).mode == "L"
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(other)))


def test_label_maps_in_colour(tmp_path):
    """Cityscapes' own ids and colours; the data set's colours where no server wants anything."""
    (path, _) = write_label_maps(
        open_dataset(tmp_path, make(tmp_path / "c", "CityscapesDataset")), tmp_path / "1"
    )
    cityscapes = Image.open(path)
    assert cityscapes.mode == "P"
    assert np.asarray(cityscapes)[0, 13] == 26  # the label of cars and their id
    assert np.asarray(cityscapes.convert("RGB"))[0, 13].tolist() == [0, 0, 142]
    voc = open_dataset(tmp_path, make(tmp_path / "v", "PascalVOCDataset"))
    plain = Image.open(write_label_maps(voc, tmp_path / "2")[0])
    assert plain.mode == "P"
    assert np.array_equal(np.asarray(plain), LABELS % 21)
    assert np.asarray(plain.convert("RGB"))[0, 13].tolist() == list(voc.info.palette[13])


def test_lists_of_folders_are_scored_apart(tmp_path):
    settings = custom(tmp_path, img_dir=["img", "more"], ann_dir=["ann", "ann"])
    write_images(tmp_path / "more", ["a"], ".png", seed=5)
    dataset = open_dataset(tmp_path, settings)
    assert [dataset.name(index) for index in range(3)] == ["0/a.png", "0/b.png", "1/a.png"]
    assert dataset.info.parts == (("CustomDataset img", 2), ("CustomDataset more", 1))
    assert np.array_equal(dataset.read_image(2, Decoding()), cv2.imread(str(tmp_path / "more" / "a.png")))
    own = reference(settings)
    for index in range(3):
        prediction = np.zeros(SIZE, np.int64)
        theirs = own.pre_eval([prediction], [index])[0]
        assert areas(prediction, dataset.read_mask(index), 3, 255) == [area.tolist() for area in theirs]
    together = open_dataset(tmp_path, settings | {"separate_eval": False})
    assert together.info.parts == ()
    assert len(together) == 3


def test_a_list_of_configs_and_a_split_for_each(tmp_path):
    (tmp_path / "one.txt").write_text("a\n")
    (tmp_path / "two.txt").write_text("b\na\n")
    splits = open_dataset(tmp_path, custom(tmp_path, split=["one.txt", "two.txt"]))
    assert [splits.name(index) for index in range(3)] == ["0/a.png", "1/b.png", "1/a.png"]
    configs = open_dataset(tmp_path, [custom(tmp_path), custom(tmp_path, split="one.txt")])
    assert [size for _, size in configs.info.parts] == [2, 1]


def test_parts_that_do_not_fit_together(tmp_path):
    with pytest.raises(DatasetError, match="different classes or ignore_index"):
        open_dataset(tmp_path, [custom(tmp_path), custom(tmp_path, ignore_index=0)])
    with pytest.raises(DatasetError, match="lists of different lengths: img_dir, split"):
        open_dataset(tmp_path, custom(tmp_path, img_dir=["img", "img"], split=["a", "b", "c"]))


def test_a_repeated_data_set(tmp_path):
    dataset = open_dataset(tmp_path, {"type": "RepeatDataset", "times": 2, "dataset": custom(tmp_path)})
    names = [dataset.name(index) for index in range(len(dataset))]
    assert names == ["a.png", "b.png", "repeat1/a.png", "repeat1/b.png"]
    assert np.array_equal(dataset.read_image(3, Decoding()), dataset.read_image(1, Decoding()))
    assert np.array_equal(dataset.read_mask(2), dataset.read_mask(0))


USER_CLASS = """
import numpy as np
from mmseg.datasets import DATASETS, PIPELINES, CustomDataset

@DATASETS.register_module(force=True)
class Blank(CustomDataset):
    CLASSES, PALETTE = ('p', 'q'), [[1, 2, 3], [4, 5, 6]]
    def get_gt_seg_map_by_idx(self, index):
        return np.full((3, 4), index, np.uint8)

@PIPELINES.register_module(force=True)
class LoadGrey:
    def __call__(self, results):
        results['img'] = np.full((3, 4, 3), 9, np.uint8)
        return results
"""


def test_classes_and_loaders_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(USER_CLASS)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = custom(tmp_path, type="Blank", pipeline=[{"type": "LoadGrey"}])
    del settings["classes"]
    path = tmp_path / "config.py"
    path.write_text(f"custom_imports = dict(imports=['my_data'])\ndata = dict(test={settings!r})\n")
    dataset = load(path)
    assert dataset.info.classes == ("p", "q")
    assert dataset.read_mask(1).tolist() == np.ones((3, 4)).tolist()
    assert dataset.read_image(0, Decoding()).tolist() == np.full((3, 4, 3), 9).tolist()


def test_a_data_set_without_masks(tmp_path):
    settings = custom(tmp_path)
    del settings["ann_dir"]
    dataset = open_dataset(tmp_path, settings)
    assert not dataset.info.has_masks
    with pytest.raises(DatasetError, match=r"no mask for a\.png"):
        dataset.read_mask(0)
    reporter = QuietReporter()
    assert not open_dataset(tmp_path, custom(tmp_path, ann_dir="none"), reporter).info.has_masks
    assert "data.test.ann_dir" in reporter.warnings[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"img_dir": "none"}, r"data\.test\.img_dir is the folder .*none, which is not there"),
        ({"data_root": "elsewhere"}, "--cfg-options data.test.data_root="),
        ({"split": "none.txt"}, r"data\.test\.split is the file .*none\.txt, which is not there"),
        ({"img_suffix": ".tiff"}, "nothing ends with '.tiff'"),
        ({"classes": None}, "classes` should be specified"),
        ({"type": "NoSuchDataset"}, "NoSuchDataset is not in the dataset registry"),
        ({"type": "CityscapesDataset", "classes": ["x"]}, "classes is not a subset"),
        ({"type": "MultiImageMixDataset"}, "MultiImageMixDataset"),
        ({"type": "RepeatDataset"}, "RepeatDataset, which needs a `dataset` and `times`"),
        ({"type": "RepeatDataset", "dataset": {"type": "X"}}, "`times` of 1 or more"),
        ({"ignore_index": None}, r"data\.test\.ignore_index must be a label, not None"),
        ({"ignore_index": "x"}, r"data\.test\.ignore_index must be a label, not 'x'"),
        ({"data_root": 5}, r"data\.test\.data_root must be a path, not 5"),
        ({"split": 5}, r"cannot open data\.test.*TypeError"),
        ({"pipeline": 5}, r"cannot open the test data of .*config\.py: TypeError"),
    ],
)
def test_data_that_cannot_be_opened_says_what_to_set(tmp_path, change, reason):
    with pytest.raises(DatasetError, match=reason) as caught:
        open_dataset(tmp_path, custom(tmp_path) | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_split_file_is_named(tmp_path, content):
    (tmp_path / "split.txt").write_text(content)
    with pytest.raises(DatasetError, match=r"the split file .*split\.txt is empty"):
        open_dataset(tmp_path, custom(tmp_path, split="split.txt"))


def test_data_that_is_no_dict(tmp_path):
    with pytest.raises(DatasetError, match="must be a dict, not 5"):
        open_dataset(tmp_path, custom(tmp_path), data="5")


def test_a_config_without_data(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("model = dict(type='X')")
    with pytest.raises(DatasetError, match=r"has no data\.test"):
        load(path)
    with pytest.raises(UsageError, match="there is no config"):
        load(tmp_path / "none.py")


def test_reading_from_many_threads(tmp_path):
    names = [f"{number:02}" for number in range(16)]
    dataset = open_dataset(tmp_path, make(tmp_path, "ADE20KDataset", tuple(names)))
    expected = [(dataset.read_image(index, Decoding()), dataset.read_mask(index)) for index in range(16)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda index: dataset.read_image(index, Decoding()), list(range(16)) * 4))
        masks = list(pool.map(dataset.read_mask, list(range(16)) * 4))
    for index in range(64):
        assert np.array_equal(images[index], expected[index % 16][0])
        assert np.array_equal(masks[index], expected[index % 16][1])


def test_the_fingerprint_changes_with_samples_and_reading(tmp_path):
    (tmp_path / "split.txt").write_text("a\n")
    same = [open_dataset(tmp_path, custom(tmp_path)).info.fingerprint for _ in range(2)]
    assert same[0] == same[1] != ""
    others = [
        {"split": "split.txt"},
        {"reduce_zero_label": True},
        {"ignore_index": 0},
        {"classes": ["x", "y"]},
        {"pipeline": [{"type": "LoadImageFromFile", "imdecode_backend": "pillow"}]},
        {"pipeline": [{"type": "LoadImageFromFile", "color_type": "unchanged"}]},
        {"gt_seg_map_loader_cfg": {"imdecode_backend": "cv2"}},
        {"gt_seg_map_loader_cfg": {"reduce_zero_label": True, "imdecode_backend": "cv2"}},
    ]
    prints = {open_dataset(tmp_path, custom(tmp_path, **change)).info.fingerprint for change in others}
    assert len(prints | {same[0]}) == 1 + len(others)


def test_nodata_values_are_values_as_for_mmseg(tmp_path):
    for folder in ("img", "ann"):
        (tmp_path / folder).mkdir()
    tag = (42113, "s", 0, "1", True)  # GDAL's nodata value
    image = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    tifffile.imwrite(tmp_path / "img" / "a.tif", np.stack([image] * 3, 2), extratags=[tag], photometric="rgb")
    tifffile.imwrite(tmp_path / "ann" / "a.tif", image, extratags=[tag], photometric="minisblack")
    settings = {"data_root": str(tmp_path), "img_dir": "img", "ann_dir": "ann", "classes": ["x", "y", "z"]}
    suffixes = {"img_suffix": ".tif", "seg_map_suffix": ".tif", "pipeline": [{"type": "LoadImageFromFile"}]}
    dataset = open_dataset(tmp_path, {"type": "CustomDataset", **settings, **suffixes})
    read = dataset.read_image(0, Decoding())
    assert type(read) is np.ndarray
    assert np.array_equal(read[:, :, 0], image)
    assert np.array_equal(dataset.read_mask(0), image)


def test_camvid(data_dir):
    config = data_dir / "models" / "fcn_m-v2-d8_480x360_camvid.py"
    options = {"data.test.data_root": str(data_dir / "camvid")}
    dataset = load(config, cfg_options=options)
    assert len(dataset) == 21
    assert dataset.info.ignore_index == 11
    assert dataset.read_image(0, Decoding()).shape == (360, 480, 3)
    assert set(np.unique(dataset.read_mask(0))) <= set(range(12))
