"""``analyze logs``: what a log calls its lines, how it is encoded, and the folders that it lies in."""

from __future__ import annotations

import csv
import json
import random

import pytest
from analysis_support.training_logs import HEADER, curves, labels, train, val, write

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import UsageError


def called_train(miou, images=30, **more):
    """A validation as mmcv's hooks can log it: its ``iter`` counts images."""
    return {**val(miou, images=images, aAcc=0.8, **more), "mode": "train"}


def test_validations_that_the_log_calls_train_are_validations(tmp_path):
    log = write(
        tmp_path / "x.log.json",
        *(train(50, 1.75), train(100, 1.5), called_train(0.4, time=0.3)),
        *(train(150, 1.25, epoch=2), train(200, 1.0, epoch=2), called_train(0.5, epoch=2)),
    )
    shown = curves(log, keys=("mIoU", "loss"))
    assert set(shown) == {("x", "mIoU", "val"), ("x", "loss", "train")}
    assert (shown["x", "loss", "train"]["x"], shown["x", "loss", "train"]["mean"]) == (
        [50, 100, 150, 200],
        [1.75, 1.5, 1.25, 1.0],
    )
    assert (shown["x", "mIoU", "val"]["x"], shown["x", "mIoU", "val"]["mean"]) == ([100, 200], [0.4, 0.5])
    report = Segplug().analyze("logs", log)
    assert any("2 lines that the log calls train hold scores and no loss" in note for note in report.notes)
    assert report.data["runs"][0]["files"][0]["validations_called_train"] == 2
    assert report.data["runs"][0]["resumes"] == 0


@pytest.mark.parametrize("line", [{"decode.acc_seg": 40.0}, {"acc_seg": 40.0, "decode.loss_ce": 1.0}])
def test_a_line_of_training_with_an_accuracy_stays_one(tmp_path, line):
    log = write(tmp_path / "x.log.json", *({**train(place, 1.0), **line} for place in (50, 100)))
    key = next(iter(line))
    assert set(curves(log, keys=(key,))) == {("x", key, "train")}


def test_a_mmengine_line_with_scores_and_no_loss_is_a_validation(tmp_path):
    log = tmp_path / "scalars.json"
    lines = [{"loss": 1.0, "lr": 0.1, "iter": 50, "step": 50}, {"mIoU": 40.0, "iter": 50, "step": 50}]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = Segplug().analyze("logs", log, keys=("mIoU",))
    assert [(one["mode"], one["x"]) for one in report.data["curves"]] == [("val", [50])]


def test_points_that_a_wrong_guess_takes_away_stay_visible(tmp_path, capsys):
    """Lines of other scores: nothing tells that they are no training, so a resume is assumed."""
    other = {"mode": "train", "epoch": 1, "iter": 30, "mine": 0.5}
    log = write(tmp_path / "x.log.json", train(50, 2.0), train(100, 1.5), other, train(150, 1.0))
    command = [
        "run",
        "analyze",
        "logs",
        str(log),
        "--keys",
        "loss",
        "mine",
        "--csv",
        str(tmp_path / "sheets"),
    ]
    assert run_command_line([*command, "--out", str(tmp_path / "x.png")]) == 0
    printed = capsys.readouterr().out
    assert "x loss (train, replaced)" in printed
    assert "2 older points, which are shown as (replaced)" in printed
    with open(next((tmp_path / "sheets").glob("*points*.csv")), newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["key"] == "loss"]
    assert [(row["lines"], float(row["iteration"]), float(row["mean"])) for row in rows] == [
        ("train", 150, 1.0),
        ("train, replaced", 50, 2.0),
        ("train, replaced", 100, 1.5),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_every_number_of_a_log_is_in_a_curve(tmp_path, seed):
    """Whatever the order of its lines is: current or replaced."""
    chosen = random.Random(seed)
    lines = [
        chosen.choice([train, lambda place, value: val(value), lambda place, value: called_train(value)])(
            chosen.randrange(1, 10), index + 0.5
        )
        for index in range(60)
    ]
    log = write(tmp_path / "x.log.json", train(1, -1.0), *lines)
    report = Segplug().analyze("logs", log, keys=("loss", "mIoU") if "mIoU" in log.read_text() else ("loss",))
    values = [value for one in report.data["curves"] for value in one["mean"]]
    assert sorted(values) == [-1.0, *(index + 0.5 for index in range(60))]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "big-endian with a mark"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_log_in_the_encodings_of_windows(tmp_path, encoding, newline):
    lines = [{**HEADER, "exp_name": "Übung \U0001f600"}, train(50, 2.0), train(100, 1.0), val(0.5)]
    text = "".join(json.dumps(line, ensure_ascii=False) + newline for line in lines)
    mark, name = ("\ufeff", "utf-16-be") if encoding.startswith("big") else ("", encoding)
    log = tmp_path / "x.log.json"
    log.write_bytes((mark + text).encode(name))
    report = Segplug().analyze("logs", log, keys=("loss", "mIoU"))
    assert [one["mean"] for one in report.data["curves"]] == [[2.0, 1.0], [0.5]]
    (counts,) = report.data["runs"][0]["files"]
    assert (counts["lines"], counts["other_lines"], counts["skipped_lines"]) == (4, 1, 0)


def test_a_cut_utf_16_log_loses_its_last_line_only(tmp_path):
    text = "".join(json.dumps(line) + "\n" for line in (train(50, 2.0), train(100, 1.0)))
    (tmp_path / "x.log.json").write_bytes(text.encode("utf-16")[:-31])
    report = Segplug().analyze("logs", tmp_path / "x.log.json")
    assert [one["mean"] for one in report.data["curves"]] == [[2.0]]
    assert report.data["runs"][0]["files"][0]["skipped_lines"] == 1


def _scalars(folder, *values):
    folder.mkdir(parents=True)
    lines = [{"loss": value, "lr": 0.1, "iter": 50 * n, "step": 50 * n} for n, value in enumerate(values, 1)]
    (folder / "scalars.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_starts_of_one_run_of_mmengine(tmp_path):
    _scalars(tmp_path / "work" / "20230102_000000" / "vis_data", 3.0, 2.0)
    _scalars(tmp_path / "work" / "20230103_000000" / "vis_data", 2.5, 1.5, 1.0)
    (tmp_path / "work" / "20230102_000000" / "20230102_000000.log").write_text("text\n")
    report = Segplug().analyze("logs", tmp_path / "work")
    assert labels(report) == ["work loss (train)", "work loss (train, replaced)"]
    assert [one["mean"] for one in report.data["curves"]] == [[2.5, 1.5, 1.0], [3.0, 2.0]]


def _refused(folder):
    with pytest.raises(UsageError) as caught:
        Segplug().analyze("logs", folder)
    return str(caught.value)


@pytest.mark.parametrize("layout", ["mmcv", "mmengine", "vis_data"])
def test_a_folder_of_several_runs_names_them(tmp_path, layout):
    works = tmp_path / "work_dirs"
    for name in ("fcn", "pspnet"):
        if layout == "mmcv":
            write(works / name / "20230102_000000.log.json", train(50, 1.0))
        elif layout == "mmengine":
            _scalars(works / name / "20230102_000000" / "vis_data", 3.0)
        else:
            _scalars(works / name / "vis_data", 3.0)
    said = _refused(works)
    assert f"the folder {works} holds several runs: fcn, pspnet" in said
    assert f"name each: {works / 'fcn'} {works / 'pspnet'}" in said
    assert len(labels(Segplug().analyze("logs", works / "fcn", works / "pspnet"))) == 2


def test_a_folder_with_text_logs_only_says_what_is_read(tmp_path):
    (tmp_path / "20230102_000000.log").write_text("2023-01-02 - mmseg - INFO - Iter [50/160000]\n")
    said = _refused(tmp_path)
    assert "only text logs (.log), which are not read" in said
    assert ".log.json" in said


def test_a_text_log_stands_for_the_numbers_beside_it(tmp_path):
    of_mmcv = write(tmp_path / "mmcv" / "20230102_000000.log.json", train(50, 1.0))
    _scalars(tmp_path / "mmengine" / "20240102_000000" / "vis_data", 3.0)
    texts = (of_mmcv.with_suffix(""), tmp_path / "mmengine" / "20240102_000000" / "20240102_000000.log")
    for text, value in zip(texts, (1.0, 3.0), strict=True):
        text.write_text("text\n")
        report = Segplug().analyze("logs", text)
        assert report.data["curves"][0]["mean"] == [value]
        assert labels(report) == [f"{text.stem} loss (train)"]


def test_logs_of_both_frameworks_in_one_folder_are_two_runs(tmp_path):
    write(tmp_path / "20230102_000000.log.json", train(50, 1.0))
    _scalars(tmp_path / "20240102_000000" / "vis_data", 3.0)
    said = _refused(tmp_path)
    assert "logs of mmcv and of mmengine, which are two runs" in said
    assert str(tmp_path / "20240102_000000") in said
    assert len(Segplug().analyze("logs", tmp_path / "20240102_000000").data["curves"]) == 1
