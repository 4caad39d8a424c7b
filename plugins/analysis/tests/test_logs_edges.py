"""``analyze logs``: resumes, places, keys and names that are out of the ordinary."""

from __future__ import annotations

import csv
import json
import math
import re

import pytest
from analysis_support.training_logs import curves, labels, train, val, write
from segplug_analysis.logs.run import Run, read_run

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.progress import QuietReporter
from segplug.results import Screen

PLAIN = Screen(100, colour=False)


def points(*logs, key="mIoU", mode="val", **options):
    report = Segplug().analyze("logs", *logs, keys=(key,), **options)
    (one,) = (one for one in report.data["curves"] if one["mode"] == mode)
    return list(zip(one["x"], one["mean"], strict=True)), report


def raw(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_resume_to_before_the_only_validation(tmp_path, capsys):
    log = write(tmp_path / "a.log.json", train(50, 1.0), train(200, 1.0), val(0.9), train(100, 2.0))
    report = Segplug().analyze("logs", log)
    assert labels(report) == ["a mIoU (val, replaced)", "a loss (train)", "a loss (train, replaced)"]
    assert any(
        "was resumed from before its first mIoU (val): all its points" in note for note in report.notes
    )
    assert run_command_line(["run", "analyze", "logs", str(log), "--keys", "mIoU"]) == 0
    printed = capsys.readouterr().out
    assert "a mIoU (val, replaced)" in printed
    assert "0.9000" in printed


def test_validations_between_two_training_lines_are_all_kept(tmp_path):
    log = write(
        tmp_path / "a.log.json",
        *(train(500, 1.0), val(0.9), val(0.5), val(0.4), val(0.3), train(1000, 1.0), val(0.2)),
    )
    found, report = points(log)
    assert found == [(500, 0.9), (500, 0.5), (500, 0.4), (500, 0.3), (1000, 0.2)]
    assert (report.data["curves"][0]["best"], report.data["runs"][0]["replaced_points"]) == (0.9, 0)
    assert any("several validations are drawn at one place" in note for note in report.notes)


def test_validations_of_epochs_without_training_lines_are_at_their_ends(tmp_path):
    log = write(
        tmp_path / "a.log.json",
        *(train(50, 1.0, epoch=2), val(0.1, epoch=2), val(0.2, epoch=3), val(0.3, epoch=4)),
        *(train(40, 1.0, epoch=6), val(0.4, epoch=6), val(0.5, epoch=7)),
    )
    assert points(log)[0] == [(2, 0.1), (3, 0.2), (4, 0.3), (5.8, 0.4), (7, 0.5)]
    other = write(tmp_path / "b.log.json", train(50, 1.0), train(100, 1.0), val(0.1))
    assert curves(log, other)["a", "mIoU", "val"]["x"] == [100, 150, 200, 290, 350]


def test_a_run_by_epochs_goes_back_to_an_epoch_that_was_only_validated(tmp_path):
    log = write(
        tmp_path / "a.log.json",
        *(train(50, 1.0, epoch=1), val(0.1), train(50, 1.0, epoch=2), val(0.2, epoch=2)),
        *(val(0.3, epoch=3), val(0.4, epoch=4), train(50, 1.0, epoch=3), val(0.5, epoch=3)),
    )
    found, report = points(log)
    assert found == [(1, 0.1), (2, 0.2), (3, 0.5)]
    assert report.data["runs"][0]["resumes"] == 1


def test_mmengine_validates_more_often_than_it_logs(tmp_path):
    log = raw(
        tmp_path / "scalars.json",
        {"lr": 0.1, "loss": 1.0, "iter": 50, "epoch": 5, "step": 50},
        {"mIoU": 90.0, "step": 5},
        {"mIoU": 50.0, "step": 6},
        {"lr": 0.1, "loss": 1.0, "iter": 100, "epoch": 10, "step": 100},
    )
    assert points(log)[0] == [(50, 90), (50, 50)]


def test_validations_alone_can_be_resumed_and_stand_at_no_training_line(tmp_path):
    lines = [val(score / 100, epoch=epoch) for epoch, score in ((1, 10), (2, 20), (3, 30), (2, 25), (3, 35))]
    found, report = points(write(tmp_path / "a.log.json", *lines))
    assert found == [(1, 0.1), (2, 0.25), (3, 0.35)]
    assert any("was resumed from epoch 2" in note and "2 older points" in note for note in report.notes)
    assert not any("training line" in note for note in report.notes)


def test_a_training_line_that_names_its_epoch_alone(tmp_path):
    log = raw(tmp_path / "a.log.json", {"mode": "train", "epoch": 3, "loss": 2.0})
    found, report = points(log, key="loss", mode="train")
    assert (found, report.data["unit"]) == ([(3, 2)], "epoch")


@pytest.mark.parametrize("more", [{"x.y": {"c": 1.0}}, {"c": 10**400}])
def test_a_key_is_known_only_if_its_number_can_be_read(tmp_path, capsys, more):
    log = write(tmp_path / "a.log.json", train(50, 1.0, **more))
    assert Segplug().analyze("logs", log).data["runs"][0]["keys"] == ["loss", "lr"]
    for key in ("x.y.c", "c"):
        assert run_command_line(["run", "analyze", "logs", str(log), "--keys", key]) == 2
        assert f"no log has the key {key}" in capsys.readouterr().err


@pytest.mark.parametrize("far", [10**400, 1e300, -(10**13)])
def test_a_line_without_a_place(tmp_path, far):
    log = write(tmp_path / "a.log.json", train(50, 1.0), train(far, 2.0), train(100, 3.0))
    found, report = points(log, key="loss", mode="train")
    assert found == [(50, 1), (100, 3)]
    assert report.data["runs"][0]["files"][0]["other_lines"] == 2


def test_values_too_large_to_be_drawn_are_told(tmp_path):
    losses = (1e308, 1.7e308, 2.0, -1.7e308)
    log = write(tmp_path / "a.log.json", *(train(50 * step, loss) for step, loss in enumerate(losses, 1)))
    for log_y in (False, True):
        report = Segplug().analyze("logs", log, log_y=log_y)
        assert report.figures[0].draw().startswith(b"<?xml")
        assert "loss" in report.figures[0].text(PLAIN)
        assert any(note.startswith("3 values are left out") for note in report.notes)


def test_names_are_drawn_as_they_are_and_one_that_begins_with_an_underscore_is_in_the_legend(
    tmp_path, recwarn
):
    logs = [write(tmp_path / f"{name}.log.json", train(50, 1.0)) for name in ("_base", "cost $a^$ and $b_$")]
    report = Segplug().analyze("logs", *logs, title=r"a $\foo$ b")
    picture = report.figures[0].draw().decode()
    for text in ("_base loss (train)", "cost $a^$ and $b_$ loss (train)", r"a $\foo$ b"):
        assert f">{text}</text>" in picture or text.startswith("a $")  # the page has the title
    assert not recwarn.list


def size_of(svg):
    return [float(side) for side in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2]]


def test_many_curves_are_all_in_the_picture_and_a_note_counts_the_unnamed(tmp_path):
    scores = {f"IoU.c{number}": number / 200 for number in range(130)}
    log = write(tmp_path / "a.log.json", train(50, 1.0), val(0.5, **scores))
    sixty = Segplug().analyze("logs", log, keys=tuple(scores)[:60])
    picture = sixty.figures[0].draw().decode()
    text = sixty.figures[0].text(PLAIN)
    for number in range(60):
        assert f">a IoU.c{number} (val)</text>" in picture
        assert f" a IoU.c{number} (val)" in text
    lowest = max(float(place) for place in re.findall(r'<text [^>]* y="([\d.]+)"', picture))
    assert lowest < size_of(picture)[1]
    every = Segplug().analyze("logs", log, keys=tuple(scores))
    assert "not drawn here: 68 more curves" in every.figures[0].text(PLAIN)
    assert any(note.startswith("10 curves of the picture are not in its legend") for note in every.notes)


def test_a_picture_has_at_most_twenty_panels(tmp_path):
    rates = {f"rate{number}": 1.0 for number in range(30)}
    log = write(tmp_path / "a.log.json", train(50, 1.0, **rates))
    report = Segplug().analyze("logs", log, keys=tuple(rates), legend=("x" * 5000,))
    assert any("20 of 30 panels" in note for note in report.notes)
    assert max(size_of(report.figures[0].draw().decode())) < 72 * 100


def test_a_module_that_is_no_backend(by_iteration, capsys):
    assert run_command_line(["run", "analyze", "logs", str(by_iteration), "--backend", "module://os"]) == 2
    printed = capsys.readouterr().err
    assert "matplotlib has no backend 'module://os'" in printed
    assert printed.count("\n") == 1


def test_percent_is_decided_for_a_whole_run(tmp_path):
    logs = [
        write(tmp_path / "a.log.json", train(50, 1.0), val(45.0, **{"IoU.bike": 0.0})),
        write(tmp_path / "b.log.json", train(50, 1.0), val(55.0, **{"IoU.bike": 20.0})),
        write(tmp_path / "c.log.json", train(50, 1.0, **{"decode.acc_seg": 90.0}), val(0.5)),
    ]
    report = Segplug().analyze("logs", *logs[:2], keys=("IoU.bike",))
    text = report.figures[0].text(PLAIN)
    assert "score (%)" in text
    assert "score (0 to 1)" not in text
    mixed = Segplug().analyze("logs", logs[2], keys=("mIoU", "decode.acc_seg"))
    mixed = mixed.figures[0].text(PLAIN)
    assert "score (%)" in mixed
    assert "score (0 to 1)" in mixed


def test_characters_that_no_font_has_are_a_note(tmp_path, recwarn):
    log = write(tmp_path / "\ue123.log.json", train(50, 1.0))
    report = Segplug().analyze("logs", log)
    report.figures[0].draw()
    assert sum("no installed font has" in note for note in report.notes) == 1
    assert not recwarn.list


def test_a_byte_order_mark_is_no_damage(tmp_path):
    log = tmp_path / "a.log.json"
    log.write_text(json.dumps(train(50, 1.0)) + "\n" + json.dumps(train(100, 2.0)), encoding="utf-8-sig")
    found, report = points(log, key="loss", mode="train")
    assert found == [(50, 1), (100, 2)]
    assert report.data["runs"][0]["files"][0]["skipped_lines"] == 0


def test_the_points_are_a_sheet(tmp_path, capsys):
    log = write(
        tmp_path / "a.log.json", *(train(step, step % 7) for step in range(1, 2001)), val(math.nan), val(0.75)
    )
    sheets = tmp_path / "sheets"
    words = ["run", "analyze", "logs", str(log), "--keys", "loss", "mIoU", "--smooth", "0.5"]
    assert run_command_line([*words, "--csv", str(sheets)]) == 0
    assert "smoothed" not in capsys.readouterr().out.partition("note:")[0]
    rows = list(csv.DictReader((sheets / "points.csv").read_text().splitlines()))
    assert sum(int(row["points"]) for row in rows if row["key"] == "loss") == 2000
    first, *_, empty, last = rows
    assert (empty["mean"], empty["lowest"], empty["highest"]) == ("nan", "", "")
    assert (first["lines"], first["iteration"], first["lowest"], first["highest"]) == (
        "train",
        "2",
        "1.0",
        "2.0",
    )
    assert float(first["smoothed"]) > 1
    assert (last["lines"], last["iteration"], last["mean"], last["smoothed"]) == ("val", "2000", "0.75", "")


def test_a_log_of_any_number_of_keys_and_resumes_takes_little_memory(tmp_path, capsys):
    keys = [{f"key{line}.{number}": 1.0 for number in range(100)} for line in range(30)]
    lines = [train(10 + 10 * (line % 2), 1.0, **more, **{"k" * 1000: 1.0}) for line, more in enumerate(keys)]
    log = write(tmp_path / "a.log.json", *lines)
    run = read_run(Run("a", ("loss",)), [log], QuietReporter().progress("reading", 1))
    assert (len(run.known), run.unlisted, run.resumes, len(run.resumed_at)) == (1000, True, 14, 5)
    assert max(map(len, run.known)) <= 200
    report = Segplug().analyze("logs", log)
    assert report.data["runs"][0]["keys_complete"] is False
    assert any(
        "was resumed from iteration 10, 10, 10, 10, 10 and 9 times more" in note for note in report.notes
    )
    assert run_command_line(["run", "analyze", "logs", str(log), "--keys", "gone"]) == 2
    printed = capsys.readouterr().err
    assert "and 960 more at least" in printed
    assert len(printed) < 2000
    assert points(log, key="key29.99", mode="train")[0] == [(20, 1)]
