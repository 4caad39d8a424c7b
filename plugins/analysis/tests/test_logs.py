"""``analyze logs``: what the lines of real loggers become."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from analysis_support.training_logs import curves, labels, train, val, write

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.results import Screen


def test_validations_stand_at_the_training_iteration_not_at_their_own_iter(by_iteration):
    shown = curves(by_iteration)
    assert set(shown) == {("run", "mIoU", "val"), ("run", "mAcc", "val")}
    miou = shown["run", "mIoU", "val"]
    assert (miou["x"], miou["mean"]) == ([200, 400], [0.2, 0.4])
    assert (miou["best"], miou["best_at"]) == (0.4, 400)


def test_a_loss_is_best_where_it_is_lowest_and_a_rate_has_no_best(by_iteration):
    shown = curves(by_iteration, keys=("loss", "lr"))
    loss = shown["run", "loss", "train"]
    assert (loss["first"], loss["last"], loss["best"], loss["best_at"]) == (8.0, 1.0, 1.0, 400)
    assert {mode for _, key, mode in shown if key == "lr"} == {"train", "val"}
    assert shown["run", "lr", "train"]["best"] is None


def test_without_scores_the_loss_is_drawn(tmp_path):
    log = write(tmp_path / "a.log.json", train(50, 2.0), train(100, 1.0))
    assert set(curves(log)) == {("a", "loss", "train")}


def test_a_run_that_counts_by_epochs_is_drawn_over_epochs(by_epoch):
    report = Segplug().analyze("logs", by_epoch, keys=("loss", "mIoU"))
    loss, miou = report.data["curves"]
    assert report.data["unit"] == "epoch"
    assert loss["x"] == [0.5, 1, 1.5, 2, 2.5, 3]
    assert miou["x"] == [1, 2, 3]


def test_validations_alone_are_drawn_over_epochs(tmp_path):
    log = write(tmp_path / "v.log.json", val(0.1, epoch=1), val(0.2, epoch=2))
    assert curves(log)["v", "mIoU", "val"]["x"] == [1, 2]


def test_runs_by_epochs_and_by_iterations_share_an_axis(by_iteration, by_epoch):
    report = Segplug().analyze("logs", by_iteration, by_epoch, keys=("loss",))
    assert report.data["unit"] == "iteration"
    assert report.data["curves"][1]["x"] == [10, 20, 30, 40, 50, 60]
    assert any("20 iterations" in note for note in report.notes)


def test_a_folder_is_one_run_and_what_was_computed_again_replaces_the_older_points(tmp_path):
    folder = tmp_path / "work"
    first = [train(iteration, 9.0) for iteration in (50, 100, 150, 200)]
    write(folder / "2023_1.log.json", *first[:2], val(0.1), *first[2:], val(0.9))
    write(folder / "2023_2.log.json", train(150, 1.0), train(200, 1.0), val(0.2), train(250, 1.0))
    report = Segplug().analyze("logs", folder, keys=("loss", "mIoU"))
    loss, older_loss, miou, older_miou = report.data["curves"]
    assert (loss["run"], loss["x"]) == ("work", [50, 100, 150, 200, 250])
    assert loss["mean"] == [9, 9, 1, 1, 1]
    assert (miou["x"], miou["mean"]) == ([100, 200], [0.1, 0.2])
    assert (older_loss["mode"], older_loss["label"]) == ("train, replaced", "work loss (train, replaced)")
    assert (older_loss["x"], older_loss["mean"]) == ([150, 200], [9, 9])
    assert (older_miou["mode"], older_miou["x"], older_miou["mean"]) == ("val, replaced", [200], [0.9])
    assert any(
        "resumed" in note and "iteration 150" in note and "3 older points" in note for note in report.notes
    )


def test_a_run_by_epochs_resumes_in_the_same_file(by_epoch):
    with open(by_epoch, "a") as file:
        for line in (
            train(10, 7.0, epoch=3),
            train(20, 7.0, epoch=3),
            val(0.7, epoch=3),
            train(10, 7.0, epoch=4),
        ):
            file.write(json.dumps(line) + "\n")
    shown = curves(by_epoch, keys=("loss", "mIoU"))
    assert shown["epochs", "loss", "train"]["x"] == [0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert shown["epochs", "loss", "train"]["mean"][-3:] == [7, 7, 7]
    assert shown["epochs", "mIoU", "val"]["mean"] == [0.1, 0.2, 0.7]


def test_mmengine_files(tmp_path):
    lines = []
    for step in (50, 100, 150, 200):
        lines.append({"lr": 0.01, "data_time": 0.1, "loss": 1.0, "iter": step, "step": step})
        if step % 100 == 0:
            lines.append({"aAcc": 80.0, "mIoU": step / 4, "data_time": 0.1, "step": step})
    path = tmp_path / "2024" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for log in (path, tmp_path):
        (miou,) = curves(log, keys=("mIoU",)).values()
        assert (miou["mode"], miou["x"], miou["mean"]) == ("val", [100, 200], [25, 50])
    assert [one["x"] for one in curves(path, keys=("loss",)).values()] == [[50, 100, 150, 200]]


def test_mmengine_numbers_validations_by_epoch_too(tmp_path):
    lines = [
        {"lr": 0.1, "loss": 1.0, "epoch": 1 + step // 101, "iter": step, "step": step}
        for step in (50, 100, 150, 200)
    ]
    lines[2:2], lines[5:] = [{"mIoU": 10.0, "step": 1}], [{"mIoU": 20.0, "step": 2}]
    path = tmp_path / "scalars.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (miou,) = curves(path).values()
    assert miou["x"] == [100, 200]


def test_percent_and_fractions_do_not_share_an_axis(by_iteration, tmp_path):
    other = write(tmp_path / "b.log.json", train(50, 1.0), val(45.5))
    report = Segplug().analyze("logs", by_iteration, other, keys=("mIoU",))
    text = report.figures[0].text(Screen(100, colour=False))
    assert "score (%)" in text
    assert "score (0 to 1)" in text
    assert any("percent" in note for note in report.notes)


@pytest.mark.parametrize(("group", "name"), [([0.1, 0.01], "lr.1"), ({"head": 0.5, "body": 0.01}, "lr.body")])
def test_several_rates_have_a_key_each(tmp_path, group, name):
    log = write(tmp_path / "a.log.json", train(50, 1.0) | {"lr": group})
    (rate,) = curves(log, keys=(name,)).values()
    assert rate["mean"] == [0.01]


def test_broken_lines_are_skipped_and_counted(tmp_path):
    broken = ['{"mode": "train", "ep', "hello", "[1, 2]", "\x00\x01", "{" * 100_000]
    log = write(tmp_path / "a.log.json", train(50, 2.0), *broken, train(100, 1.0))
    with open(log, "ab") as file:
        file.write(b"\xff\xfe\n" + b'{"mode": "val", "iter": 5')
    report = Segplug().analyze("logs", log)
    (counts,) = report.data["runs"][0]["files"]
    assert (counts["training_lines"], counts["other_lines"], counts["skipped_lines"]) == (2, 1, 7)
    assert counts["lines"] == 10
    assert any(note.startswith("a: 7 lines") for note in report.notes)
    assert report.data["curves"][0]["mean"] == [2, 1]


def test_a_line_that_is_too_long_is_skipped(tmp_path):
    log = write(tmp_path / "a.log.json", train(50, 2.0), "x" * (9 << 20), train(100, 1.0))
    report = Segplug().analyze("logs", log)
    assert report.data["runs"][0]["files"][0]["skipped_lines"] == 1
    assert report.data["curves"][0]["points"] == 2


def test_nan_is_a_gap(tmp_path):
    log = write(tmp_path / "a.log.json", train(50, 2.0), train(100, math.nan), train(150, 3.0))
    (loss,) = curves(log).values()
    assert math.isnan(loss["mean"][1])
    assert (loss["points"], loss["best"], loss["best_at"]) == (3, 2.0, 50)


def test_smoothing_is_debiased_and_does_not_change_first_last_and_best(tmp_path):
    log = write(
        tmp_path / "a.log.json", *(train(50 * step, loss) for step, loss in enumerate((4.0, 0.0, 4.0), 1))
    )
    (loss,) = curves(log, smooth=0.5).values()
    assert loss["smoothed"] == pytest.approx([4, 4 / 3, 20 / 7])
    assert (loss["mean"], loss["best"], loss["last"]) == ([4, 0, 4], 0, 4)


def test_validations_are_not_smoothed(by_iteration):
    shown = curves(by_iteration, keys=("mIoU", "loss"), smooth=0.9)
    assert shown["run", "mIoU", "val"]["smoothed"] is None
    assert shown["run", "loss", "train"]["smoothed"] is not None


def test_a_long_log_keeps_its_shape_and_its_extremes(tmp_path):
    values = [1.0] * 10_000
    values[7_777] = 99.0
    log = write(tmp_path / "a.log.json", *(train(step, value) for step, value in enumerate(values, 1)))
    report = Segplug().analyze("logs", log)
    (loss,) = report.data["curves"]
    assert len(loss["x"]) <= 1024
    assert (loss["points"], max(loss["max"]), min(loss["min"])) == (10_000, 99, 1)
    assert loss["x"][-1] == 10_000
    assert 7_778 <= loss["x"][loss["max"].index(99)] < 7_778 + loss["points_per_part"]
    assert any("the band around a line is their range" in note for note in report.notes)


def test_a_legend_is_for_each_run_or_for_each_run_and_key(by_iteration, by_epoch):
    keys = ("loss", "mIoU")
    each_run = Segplug().analyze("logs", by_iteration, by_epoch, keys=keys, legend=("A", "B"))
    assert labels(each_run) == ["A loss", "A mIoU", "B loss", "B mIoU"]
    each_curve = Segplug().analyze("logs", by_iteration, by_epoch, keys=keys, legend=("1", "2", "3", "4"))
    assert labels(each_curve) == ["1", "2", "3", "4"]


def test_runs_of_equal_file_names_are_told_apart(tmp_path):
    logs = [write(tmp_path / name / "vis_data" / "scalars.json", train(50, 1.0)) for name in ("a", "b")]
    assert {run for run, _, _ in curves(*logs)} == {"a", "b"}


def test_a_key_that_only_one_run_has_is_drawn_and_the_other_named(by_iteration, tmp_path):
    other = write(tmp_path / "b.log.json", train(50, 1.0))
    report = Segplug().analyze("logs", by_iteration, other, keys=("mIoU",))
    assert "b has no mIoU" in report.notes


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--keys", "mIou"],
            2,
            "no log has the key mIou; did you mean 'mIoU'? (the logs have IoU.road, loss, lr,",
        ),
        (["--legend", "a", "b", "c"], 2, "--legend takes 1 name, one for each run or 2,"),
        (["--keys", "loss", "--legend", "a", "b"], 2, "--legend takes 1 name, one for each run; not 2"),
        (["--out", "curves.gif"], 2, "has no known picture format (name it .png, .svg or .pdf)"),
        (["--backend", "Nowhere"], 2, "matplotlib has no backend 'Nowhere'"),
        (["--backend", "Agg"], 2, "the backend Agg only writes files (name one with --out)"),
    ],
)
def test_wrong_options(by_iteration, capsys, arguments, code, message):
    assert run_command_line(["run", "analyze", "logs", str(by_iteration), *arguments]) == code
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("2023-01-01 - mmseg - INFO\n", "1 of its 1 lines are no JSON (name mmcv's .log.json"),
        ('{"env_info": "x", "seed": 0}\n', "0 of its 1 lines are no JSON"),
    ],
)
def test_a_log_without_a_line_of_training(tmp_path, capsys, content, message):
    log = tmp_path / "a.log.json"
    log.write_text(content)
    assert run_command_line(["run", "analyze", "logs", str(log)]) == 1
    assert message in capsys.readouterr().err


def test_logs_that_are_not_there(tmp_path, by_iteration, capsys):
    (tmp_path / "folder").mkdir()
    for logs, message in (
        (["gone.json"], "there is no log gone.json"),
        ([str(tmp_path / "folder")], "has no log"),
        ([str(by_iteration)] * 2, "is named twice"),
    ):
        assert run_command_line(["run", "analyze", "logs", *logs]) == 2
        assert message in capsys.readouterr().err


def test_a_window_without_a_display_is_one_line(by_iteration, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run_command_line(["run", "analyze", "logs", str(by_iteration), "--backend", "TkAgg"]) == 2
    printed = capsys.readouterr().err
    assert "no window can be opened with TkAgg" in printed
    assert printed.count("\n") == 1


def test_a_backend_shows_what_out_would_write(by_iteration, tmp_path, monkeypatch):
    from matplotlib import pyplot

    (tmp_path / "some_backend.py").write_text(
        "from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas\n"
        "from matplotlib.backend_bases import FigureManagerBase as FigureManager\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.extend(pyplot.gcf().axes[0].get_lines()))
    Segplug().analyze("logs", by_iteration, keys=("loss",), backend="module://some_backend")
    assert [list(line.get_xdata()) for line in shown] == [list(range(50, 401, 50))]
    assert not pyplot.get_fignums()


def test_the_command_writes_picture_page_and_tables(by_iteration, tmp_path, capsys):
    out, page = tmp_path / "curves.png", tmp_path / "curves.html"
    arguments = [
        "--keys",
        "loss",
        "mIoU",
        "--smooth",
        "0.5",
        "--log-y",
        "--out",
        str(out),
        "--html",
        str(page),
    ]
    assert run_command_line(["run", "analyze", "logs", str(by_iteration), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "━━ run loss (train)" in printed
    assert "best at iteration" in printed
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "run loss (train)</text>" in page.read_text()
    assert run_command_line(["run", "analyze", "logs", str(by_iteration), "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err


def test_a_log_is_never_written_over(tmp_path, capsys):
    log = write(tmp_path / "log.png", train(50, 1.0))
    before = log.read_bytes()
    assert run_command_line(["run", "analyze", "logs", str(log), "--out", str(log), "--force"]) == 2
    assert "is an input" in capsys.readouterr().err
    assert log.read_bytes() == before


def test_help_imports_no_plotting_library():
    code = (
        "import sys\n"
        "from segplug.cli.root import run_command_line\n"
        "for target in ('logs', 'confusion'):\n"
        "    assert run_command_line(['run', 'analyze', target, '--help']) == 0\n"
        "assert not {'matplotlib', 'seaborn', 'torch', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
