"""Label maps of few and many classes, with pixels that have no label."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from segplug.dataset import DatasetInfo, LabelFormat
from segplug.engine import EngineSpec
from segplug.model import ModelMeta
from segplug.runtime.drawing import PictureSettings
from segplug.runtime.pipeline import run
from segplug.runtime.sinks import LabelMapSink, PaintSink
from segplug.testing import ArrayDataset, FunctionEngine


def _engine(meta: ModelMeta) -> FunctionEngine:
    """The value of the first channel is the label."""
    labels = np.arange(meta.out_channels)[:, None, None]
    return FunctionEngine(
        EngineSpec(meta, "logits"), lambda batch: (labels == batch[:, :1]).astype(np.float32)
    )


def _image(labels: np.ndarray, holes: slice = slice(0, 0)) -> np.ma.MaskedArray:
    image = np.ma.MaskedArray(np.repeat(labels[:, :, None], 3, axis=2), mask=False)
    image[holes] = np.ma.masked
    return image


@pytest.mark.parametrize("colours", [2, 3, 16, 17, 256])
def test_the_ignored_label_survives_a_small_palette(tmp_path, colours):
    """Pillow writes two colours with one bit for each pixel."""
    palette = tuple((i, 255 - i, 7) for i in range(colours))
    meta = ModelMeta("m", out_channels=colours, palette=palette)
    labels = np.random.default_rng(0).integers(0, min(colours, 200), (20, 30)).astype(np.uint8)
    ignored = 255 if colours < 256 else 65535
    info = DatasetInfo("one", (), has_masks=False, ignore_index=ignored)
    run(_engine(meta), ArrayDataset([_image(labels, slice(0, 4))], info=info), [LabelMapSink(tmp_path)])
    with Image.open(tmp_path / "0000.png") as picture:
        written = np.array(picture)
        assert picture.mode == ("P" if colours < 256 else "I;16")
        if colours < 256:
            assert picture.getpalette()[: 3 * colours] == [value for colour in palette for value in colour]
    assert (written[:4] == ignored).all()
    assert np.array_equal(written[4:], labels[4:])


@pytest.mark.parametrize(("ids", "written"), [({0: 7, 1: 33}, (7, 33)), ({0: 700, 1: -1}, (700, 255))])
@pytest.mark.parametrize("ignored", [255, 65535])
def test_ids_of_a_server_leave_the_ignored_label_as_it_is(tmp_path, ids, written, ignored):
    meta = ModelMeta("m", out_channels=2)
    labels = np.random.default_rng(0).integers(0, 2, (20, 30)).astype(np.uint8)
    info = DatasetInfo("one", ("a", "b"), ignore_index=ignored, label_format=LabelFormat(ids=ids))
    run(_engine(meta), ArrayDataset([_image(labels, slice(0, 4))], info=info), [LabelMapSink(tmp_path)])
    with Image.open(tmp_path / "0000.png") as picture:
        found = np.array(picture)
    assert (found[:4] == ignored).all()
    assert np.array_equal(found[4:], np.array(written)[labels[4:]])


@pytest.mark.parametrize("classes", [3, 300])
def test_a_tiff_holds_the_labels_of_any_number_of_classes(tmp_path, classes):
    meta = ModelMeta("m", out_channels=classes)
    labels = np.random.default_rng(0).integers(0, classes, (20, 30)).astype(np.uint16)
    run(_engine(meta), ArrayDataset([_image(labels)]), [LabelMapSink(tmp_path, suffix=".tif")])
    written = tifffile.imread(tmp_path / "0000.tif")
    assert written.dtype == (np.uint8 if classes < 256 else np.uint16)
    assert np.array_equal(written, labels)


def test_a_model_of_one_class_is_painted_on_black(tmp_path):
    """Label 1 has its colour; all else is no class."""
    meta = ModelMeta("m", classes=("vessel",), palette=((9, 80, 200),), out_channels=1)
    labels = np.random.default_rng(0).integers(0, 2, (20, 30)).astype(np.uint8)
    engine = FunctionEngine(EngineSpec(meta, "logits"), lambda batch: batch[:, :1] - 0.5)
    sinks = [LabelMapSink(tmp_path / "maps"), PaintSink(tmp_path / "painted", PictureSettings(opacity=1))]
    run(engine, ArrayDataset([_image(labels)]), sinks)
    with Image.open(tmp_path / "maps" / "0000.png") as picture:
        assert picture.getpalette()[:6] == [0, 0, 0, 9, 80, 200]
        assert np.array_equal(np.array(picture), labels)
    painted = np.asarray(Image.open(tmp_path / "painted" / "0000.png"))
    assert np.array_equal(painted, np.array([(0, 0, 0), (9, 80, 200)], np.uint8)[labels])
