"""Scores equal those of mmengine's own ``Runner.test`` with IoUMetric."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmseg_support.runner import CAMVID, runner_scores, write_camvid
from mmseg_support.scoring import Project
from mmseg_support.scoring1 import make_project

from segplug import Segplug

SLIDE = {"test_cfg": {"mode": "slide", "crop_size": (40, 48), "stride": (24, 30)}}
LOSS = {"type": "CrossEntropyLoss", "use_sigmoid": True}
METRICS = ("mIoU", "mDice", "mFscore")

CASES = {
    "whole": {},
    "slide": {"model": SLIDE},
    "reduced, ignoring": {"dataset": {"reduce_zero_label": True}, "evaluator": {"ignore_index": 1}},
    "mapped": {
        "classes": ("building", "road", "sidewalk"),
        "dataset": {"type": "CityscapesDataset", "img_suffix": ".jpg", "seg_map_suffix": ".png"},
    },
    "repeated": {"dataset": {"indices": [1, 0, 1]}},
    "weighted": {"evaluator": {"beta": 2, "nan_to_num": 0}},
    "binary": {
        "classes": ("a", "b"),
        "head": {"num_classes": 2, "out_channels": 1, "threshold": 0.45, "loss_decode": LOSS},
    },
    "one class": {"classes": ("a",), "head": {"num_classes": 1, "loss_decode": LOSS}},
    "one class, two names": {"classes": ("other", "a"), "head": {"num_classes": 1, "loss_decode": LOSS}},
}


def assert_scores(project: Project, work: Path, what=None, backend: str = "pytorch") -> None:
    """All scores of the two are equal to 4 decimals; a near-tie or two may change the last one."""
    session = Segplug()
    if what is None:
        what = session.load_model(project.config, checkpoint=project.checkpoint)
    report = session.evaluate(what, backend=backend, dataset=project.config, metrics=METRICS)
    expected = runner_scores(project.config, project.checkpoint, work / "runner")
    assert report.scores is not None
    found = {name: report.scores.metrics[name] for name in expected}
    assert set(expected) >= {"aAcc", *METRICS}
    assert found == pytest.approx(expected, abs=1.5e-4, nan_ok=True)
    ious = report.scores.per_class["IoU"]
    assert sum(value > 0.02 for value in ious) >= min(2, len(ious)), "labels vary"


@pytest.mark.parametrize("case", CASES)
def test_scores_are_the_evaluators_own(tmp_path, case):
    assert_scores(make_project(tmp_path, **CASES[case]), tmp_path)


def test_an_exported_network_has_them_too(tmp_path):
    pytest.importorskip("segplug_onnx")
    project = make_project(tmp_path)
    session = Segplug()
    model = session.load_model(project.config, checkpoint=project.checkpoint)
    artifact = session.export("onnx", model, output=tmp_path / "m.onnx", dynamic=True)
    assert_scores(project, tmp_path, artifact, "onnxruntime")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_slide", "fastscnn"])
def test_camvid_by_three_ways(data_dir: Path, tmp_path, name):
    """The runner with a config of 1.x; segplug with the same, and with the config of 0.30 as it is."""
    models = data_dir / "models"
    old, weights = (models / f"{CAMVID[name][0]}.py", models / f"{CAMVID[name][1]}.pth")
    config = write_camvid(name, models, data_dir / "camvid", tmp_path)
    theirs = runner_scores(config, weights, tmp_path / "work")
    session = Segplug()
    root = {"data.test.data_root": str(data_dir / "camvid")}
    for location, dataset in ((config, config), (old, session.load_dataset(old, cfg_options=root))):
        model = session.load_model(location, checkpoint=weights)
        report = session.evaluate(model, backend="pytorch", dataset=dataset, metrics=METRICS)
        assert report.scores is not None
        found = {key: round(report.scores.metrics[key], 4) for key in theirs}
        assert found == theirs
    artifact = session.export("onnx", model, output=tmp_path / "m.onnx")
    report = session.evaluate(artifact, backend="onnxruntime", dataset=config)
    assert report.scores is not None
    assert round(report.scores.metrics["mIoU"], 4) == theirs["mIoU"]
