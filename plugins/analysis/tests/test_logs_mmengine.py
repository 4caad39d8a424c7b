"""``analyze logs`` on what mmengine 0.10.7 wrote: two trainings of mmseg 1.2.2 on made-up images.

``by_iteration`` was resumed once and then tested, so it has three starts; the third has no curve.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from analysis_support import training_logs
from analysis_support.training_logs import curves

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import UsageError

WORK = Path(training_logs.__file__).parent / "mmengine_work"
STARTS = sorted((WORK / "by_iteration").iterdir())


def test_the_starts_of_a_training_that_counts_iterations():
    shown = curves(WORK / "by_iteration", keys=("loss", "decode.loss_ce", "decode.acc_seg", "lr", "mIoU"))
    for key in ("loss", "decode.loss_ce", "decode.acc_seg", "lr"):
        assert shown["by_iteration", key, "train"]["x"] == [2, 4, 6, 8, 10, 12]
    miou = shown["by_iteration", "mIoU", "val"]
    assert miou["x"] == [4, 8, 12]
    assert miou["mean"] == pytest.approx([16.99, 60.37, 61.0])
    assert (miou["best"], miou["best_at"]) == (pytest.approx(61.0), 12)
    assert shown["by_iteration", "loss", "train"]["first"] == pytest.approx(1.541, abs=5e-4)
    assert len(shown) == 5, "no curve of a mode that the log does not have"


def test_a_training_that_counts_epochs():
    """Its validations are numbered by epochs, its training lines by iterations since the start."""
    report = Segplug().analyze("logs", WORK / "by_epoch", keys=("loss", "mIoU"))
    loss, miou = report.data["curves"]
    assert report.data["unit"] == "iteration"
    assert loss["x"] == list(range(1, 10))
    assert (miou["mode"], miou["x"]) == ("val", [3, 6, 9])
    assert miou["mean"] == pytest.approx([14.97, 55.96, 59.02])


@pytest.mark.parametrize(
    "name", ["", "vis_data", "vis_data/scalars.json", "vis_data/{start}.json", "{start}.log"]
)
def test_one_start_is_named_in_any_way(name):
    log = STARTS[0] / name.format(start=STARTS[0].name)
    (loss,) = curves(log, keys=("loss",)).values()
    assert (loss["run"], loss["x"]) == (STARTS[0].name, [2, 4, 6, 8])


def test_several_runs_and_the_files_of_each(capsys):
    assert (
        run_command_line(["run", "analyze", "logs", str(WORK / "by_iteration"), str(WORK / "by_epoch")]) == 0
    )
    printed = capsys.readouterr().out
    assert "by_iteration mIoU (val)" in printed
    assert "by_epoch mIoU (val)" in printed
    for start in STARTS[:2]:
        assert f"{start.name}/vis_data/scalars.json" in printed
    assert STARTS[2].name not in printed


def test_a_start_that_only_tested_has_no_log():
    with pytest.raises(UsageError, match="has only text logs"):
        Segplug().analyze("logs", STARTS[2])
