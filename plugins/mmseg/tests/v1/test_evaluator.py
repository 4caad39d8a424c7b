"""What ``test_evaluator`` changes: the ignored label, and the files of label maps."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmseg_support.data_sets import SIZE
from mmseg_support.data_sets1 import PIPELINE, custom, open_test_data, references
from PIL import Image
from segplug_mmseg.datasets import MmsegDataset

from segplug.errors import DatasetError
from segplug.model import ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime.sinks import LabelMapSink
from segplug.sink import ImageResult, RunContext


class Notes(QuietReporter):
    """Keeps notes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


IOU = {"type": "IoUMetric"}


@pytest.mark.parametrize(
    ("evaluator", "ignored"),
    [
        (IOU, 255),
        (IOU | {"ignore_index": 2}, 2),
        ([IOU | {"ignore_index": 3}], 3),
        ({"type": "mmseg.IoUMetric", "ignore_index": 0}, 0),
        ({"metrics": IOU | {"ignore_index": 4}}, 4),
        ({"type": "Evaluator", "metrics": [IOU | {"ignore_index": 4}]}, 4),
        ([{"type": "MyMetric"}, IOU | {"ignore_index": 6}], 6),
        ({"type": "CityscapesMetric", "output_dir": "x"}, 255),
        ([{"type": "CityscapesMetric", "output_dir": "x"}, IOU | {"ignore_index": 3}], 3),
    ],
    ids=str,
)
def test_the_evaluators_ignored_label_counts(tmp_path, evaluator, ignored):
    for index in (255, ignored, 1):
        reporter = Notes()
        settings = custom(tmp_path, ignore_index=index)
        dataset = open_test_data(tmp_path, settings, evaluator, reporter=reporter)
        assert dataset.info.ignore_index == ignored
        said = "as in mmseg, the evaluator's counts (--cfg-options test_evaluator.ignore_index=1"
        assert [said in warning for warning in reporter.warnings] == [True] * (index not in (255, ignored))
        others = any("Metric" in str(evaluator) and name in str(evaluator) for name in ("MyM", "Citys"))
        assert any("is not computed" in note for note in reporter.notes) == others


def test_without_an_evaluator_the_data_sets_ignored_label_counts(tmp_path):
    for evaluator in ((), {"type": "MyMetric"}):
        dataset = open_test_data(tmp_path, custom(tmp_path, ignore_index=2), evaluator)
        assert dataset.info.ignore_index == 2


def test_how_the_evaluator_scores(tmp_path):
    info = open_test_data(tmp_path, custom(tmp_path), IOU | {"beta": 2, "nan_to_num": 0}).info
    assert (info.beta, info.nan_to_num) == (2, 0)
    info = open_test_data(tmp_path, custom(tmp_path), [{"type": "MyMetric", "beta": 3}, IOU]).info
    assert (info.beta, info.nan_to_num) == (1, None)


@pytest.mark.parametrize(
    ("evaluator", "reason"),
    [
        ({"type": "DepthMetric"}, "test_evaluator is DepthMetric: it scores depths"),
        ([IOU, {"type": "DepthMetric"}], "test_evaluator is DepthMetric"),
        (IOU | {"ignore_index": None}, r"test_evaluator\.ignore_index must be a label, not None"),
        (IOU | {"ignore_index": "x"}, r"test_evaluator\.ignore_index must be a label, not 'x'"),
        (IOU | {"beta": "x"}, r"test_evaluator\.beta must be a number, not 'x'"),
        (IOU | {"beta": 0}, r"test_evaluator\.beta must be above 0, not 0"),
        (IOU | {"nan_to_num": "x"}, r"test_evaluator\.nan_to_num must be a number, not 'x'"),
        (5, "test_evaluator must be a dict with a type, or a list of them, not 5"),
        ([5], "test_evaluator must be a dict with a type"),
    ],
)
def test_evaluators_that_score_no_labels(tmp_path, evaluator, reason):
    with pytest.raises(DatasetError, match=reason):
        open_test_data(tmp_path, custom(tmp_path), evaluator)


def test_evaluators_that_disagree(tmp_path):
    reporter = Notes()
    evaluators = [IOU | {"ignore_index": 3}, IOU | {"ignore_index": 4}]
    assert open_test_data(tmp_path, custom(tmp_path), evaluators, reporter=reporter).info.ignore_index == 3
    assert "ignore different labels: 3 is ignored here" in reporter.warnings[0]


LABELS = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE)


def our_files(dataset: MmsegDataset, folder: Path) -> list[Path]:
    """``LABELS``, as far as there are classes, written by segplug for every image."""
    classes = len(dataset.info.classes)
    sink = LabelMapSink(folder)
    meta = ModelMeta(name="m", classes=dataset.info.classes, out_channels=classes)
    sink.open(RunContext(meta=meta, dataset=dataset, reporter=QuietReporter(), spool=None))
    for index in range(len(dataset)):
        sink.consume(ImageResult(index, dataset.name(index), LABELS % classes, image=None, mask=None))
    sink.close(finished=True)
    return sorted(folder.iterdir())


def their_files(settings: dict[str, Any], evaluator: dict[str, Any]) -> list[Path]:
    """The same labels, written by mmseg's evaluator."""
    dataset = references(settings)
    from mmengine.structures import PixelData
    from mmseg.registry import METRICS

    metric = METRICS.build(evaluator)
    metric.dataset_meta = dataset.metainfo
    labels = torch.from_numpy(LABELS.astype(np.int64) % len(dataset.metainfo["classes"]))
    for index in range(len(dataset)):
        sample = dataset[index]["data_samples"]
        sample.pred_sem_seg = PixelData(data=labels[None])
        metric.process({}, [sample.to_dict()])
    return sorted(Path(evaluator["output_dir"]).iterdir())


def assert_written_alike(ours: list[Path], theirs: list[Path]) -> None:
    assert [path.name for path in ours] == [path.name for path in theirs]
    for path, other in zip(ours, theirs, strict=True):
        assert Image.open(path).mode == Image.open(other).mode
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(other)))


PACKS_LITTLE = [*PIPELINE[:2], {"type": "PackSegInputs", "meta_keys": ("img_path",)}]


@pytest.mark.parametrize("format_only", [False, True])
@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"reduce_zero_label": True}, 1),
        ({"reduce_zero_label": False}, 0),
        ({"reduce_zero_label": True, "pipeline": PACKS_LITTLE}, 0),
        ({"type": "LoveDADataset", "metainfo": None}, 1),
        ({"type": "CityscapesDataset", "metainfo": None, "seg_map_suffix": ".png"}, 0),
    ],
    ids=str,
)
def test_label_maps_are_written_as_iou_metric_writes_them(tmp_path, settings, first, format_only):
    settings = custom(tmp_path, **settings)
    evaluator = IOU | {"output_dir": str(tmp_path / "theirs"), "format_only": format_only}
    theirs = their_files(settings, evaluator)
    assert np.asarray(Image.open(theirs[0]))[0, 0] == first
    assert_written_alike(our_files(open_test_data(tmp_path, settings, evaluator), tmp_path / "ours"), theirs)


def test_label_maps_are_written_as_cityscapes_metric_writes_them(tmp_path, monkeypatch):
    """Its package is not installed: the ids are those of its table, by the names of the classes."""
    from segplug_mmseg.compat import import_mmseg

    import_mmseg()
    from mmseg.evaluation.metrics import citys_metric

    ids = [*(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)]
    table = {label: types.SimpleNamespace(id=number) for label, number in enumerate(ids)}
    monkeypatch.setattr(citys_metric, "CSEval", sys)
    monkeypatch.setattr(citys_metric, "CSLabels", types.SimpleNamespace(trainId2label=table))
    settings = custom(tmp_path, type="CityscapesDataset", metainfo=None, seg_map_suffix=".png")
    evaluator = {
        "type": "CityscapesMetric",
        "output_dir": str(tmp_path / "theirs"),
        "format_only": True,
        "keep_results": True,
    }
    theirs = their_files(settings, evaluator)
    assert_written_alike(our_files(open_test_data(tmp_path, settings, evaluator), tmp_path / "ours"), theirs)


def test_where_mmseg_writes_nothing(tmp_path):
    """The format is that of the data set's server; others are for looking at."""
    cityscapes = {"type": "CityscapesDataset", "metainfo": None, "seg_map_suffix": ".png"}
    form = open_test_data(tmp_path, custom(tmp_path, **cityscapes)).info.label_format
    assert [form.ids[label] for label in (0, 18)] == [7, 33]
    ade = {"type": "ADE20KDataset", "metainfo": None, "img_suffix": ".png"}
    form = open_test_data(tmp_path, custom(tmp_path, **ade)).info.label_format
    assert [form.ids[label] for label in (0, 149)] == [1, 150]
    assert open_test_data(tmp_path, custom(tmp_path)).info.label_format is None
