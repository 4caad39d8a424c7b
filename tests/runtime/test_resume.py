"""Interrupted runs: what the journal keeps, what a resumed run takes over, what it does again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from segplug.cli.root import root, run_command_line
from segplug.dataset import DatasetInfo
from segplug.engine import EngineSpec
from segplug.errors import DatasetError
from segplug.model import ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime.folder import FolderDataset, ImageList
from segplug.runtime.journal import Entry, Journal, state_folder
from segplug.runtime.pipeline import run
from segplug.runtime.raw import RawSink
from segplug.runtime.sinks import LabelMapSink, PaintSink, ScoreSink
from segplug.testing.engines import ArrayDataset, FunctionEngine

META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def _image(index):
    return np.random.default_rng(index).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def _labels(image):
    return image.argmax(axis=2).astype(np.uint8)


def _set(number):
    images = [_image(index) for index in range(number)]
    info = DatasetInfo("d", META.classes, fingerprint=f"d {number}")
    return ArrayDataset(images, [_labels(image) for image in images], info)


def _files(folder, number):
    """The same as image and mask files."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(number):
        cv2.imwrite(str(folder / "images" / f"{index:02d}.png"), _image(index))
        cv2.imwrite(str(folder / "masks" / f"{index:02d}.png"), _labels(_image(index)))
    return folder


def _engine(function=lambda batch: _noisy(batch)):
    return FunctionEngine(EngineSpec(META, "logits", backend="test"), function)


def _noisy(batch):
    return np.roll(batch, 3, axis=3)


def _interrupted(after, function=_noisy):
    def network(batch):
        if len(engine.shapes) > after:
            raise KeyboardInterrupt
        return function(batch)

    engine = _engine(network)
    return engine


def test_an_interrupted_run_goes_on_with_the_same_scores():
    dataset = _set(10)
    whole = run(_engine(), dataset, [ScoreSink()])
    with pytest.raises(KeyboardInterrupt):
        run(_interrupted(6), dataset, [ScoreSink()], run_key="k")
    engine = _engine()
    report = run(engine, dataset, [ScoreSink()], run_key="k", resume=True)
    assert report.resumed >= 3
    assert len(engine.shapes) == 10 - report.resumed
    assert report.scores.to_dict() == whole.scores.to_dict()
    assert not list(state_folder().iterdir())


def test_a_run_is_not_resumed_unasked_or_with_another_key_or_data_set():
    def interrupt():
        with pytest.raises(KeyboardInterrupt):
            run(_interrupted(6), _set(10), [], run_key="k")

    for settings in ({"run_key": "k"}, {"run_key": "other", "resume": True}):
        interrupt()
        assert run(_engine(), _set(10), [], **settings).resumed == 0
    interrupt()
    assert run(_engine(), _set(11), [], run_key="k", resume=True).resumed == 0
    interrupt()
    assert run(_engine(), _set(10), [ScoreSink()], run_key="k", resume=True).resumed == 0
    assert run(_engine(), _set(10), [], run_key="k", resume=True).resumed > 0


def _stopped(dataset, sinks, after=6):
    """Interrupt a run; returns how many images it had finished."""
    with pytest.raises(KeyboardInterrupt):
        run(_interrupted(after), dataset, sinks, run_key="k")
    (journal,) = state_folder().glob("*/journal.jsonl")
    return len(journal.read_bytes().splitlines()) - 1


def test_a_damaged_image_is_mended_and_the_run_goes_on(tmp_path):
    data = _files(tmp_path / "data", 8)
    damaged = data / "images" / "05.png"
    damaged.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"05\.png"):
        run(_engine(), FolderDataset(data), [ScoreSink()], run_key="k")
    cv2.imwrite(str(damaged), _image(5))
    report = run(_engine(), FolderDataset(data), [ScoreSink()], run_key="k", resume=True)
    assert report.resumed == 5
    whole = run(_engine(), FolderDataset(data), [ScoreSink()])
    assert report.scores.to_dict() == whole.scores.to_dict()


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_an_image_whose_file_was_replaced_is_computed_again_and_no_other(tmp_path, kind):
    data = _files(tmp_path / "data", 8)
    finished = _stopped(FolderDataset(data), [ScoreSink()])
    assert finished >= 3
    new = _image(77) if kind == "images" else _labels(_image(77))
    cv2.imwrite(str(data / kind / "01.png"), new)
    engine = _engine()
    report = run(engine, FolderDataset(data), [ScoreSink()], run_key="k", resume=True)
    assert report.resumed == finished - 1
    assert len(engine.shapes) == 8 - finished + 1
    whole = run(_engine(), FolderDataset(data), [ScoreSink()])
    assert report.scores.to_dict() == whole.scores.to_dict()


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_an_image_that_no_longer_exists_is_named(tmp_path, kind):
    data = _files(tmp_path / "data", 8)
    dataset = FolderDataset(data)
    finished = _stopped(dataset, [ScoreSink()])
    (data / kind / "01.png").unlink()
    with pytest.raises(DatasetError, match=r"01\.png"):
        run(_engine(), dataset, [ScoreSink()], run_key="k", resume=True)
    cv2.imwrite(str(data / kind / "01.png"), _image(1) if kind == "images" else _labels(_image(1)))
    report = run(_engine(), dataset, [ScoreSink()], run_key="k", resume=True)
    assert report.resumed >= finished - 1
    whole = run(_engine(), FolderDataset(data), [ScoreSink()])
    assert report.scores.to_dict() == whole.scores.to_dict()


def test_a_mask_that_nobody_read_does_not_count(tmp_path):
    data = _files(tmp_path / "data", 8)
    finished = _stopped(FolderDataset(data), [])
    cv2.imwrite(str(data / "masks" / "01.png"), _labels(_image(77)))
    assert run(_engine(), FolderDataset(data), [], run_key="k", resume=True).resumed == finished


@pytest.mark.parametrize("make", [PaintSink, LabelMapSink, RawSink])
def test_an_image_whose_result_is_gone_is_computed_again(tmp_path, make):
    out = tmp_path / "out.npz"
    finished = _stopped(_set(10), [ScoreSink(), make(out)])
    if make is RawSink:
        (lost,) = state_folder().glob("*/spool/1.zip")
    else:
        lost = out / "0001.png"
    lost.unlink()
    report = run(_engine(), _set(10), [ScoreSink(), make(out)], run_key="k", resume=True)
    assert report.resumed == finished - 1
    assert report.scores.to_dict() == run(_engine(), _set(10), [ScoreSink()]).scores.to_dict()
    if make is RawSink:
        with np.load(out) as stored:
            assert len(stored) == 10
    else:
        assert len(list(out.glob("[!.]*.png"))) == 10


def test_a_resumed_run_that_lost_everything_starts_anew(tmp_path):
    _stopped(_set(10), [PaintSink(tmp_path / "out")])
    shutil.rmtree(tmp_path / "out")
    assert run(_engine(), _set(10), [PaintSink(tmp_path / "out")], run_key="k", resume=True).resumed == 0
    assert len(list((tmp_path / "out").iterdir())) == 10


def test_runs_that_nobody_resumed_for_a_month_are_forgotten():
    _stopped(_set(10), [])
    (journal,) = state_folder().glob("*/journal.jsonl")
    for days, left in ((29, 1), (31, 0)):
        then = time.time() - days * 24 * 3600
        os.utime(journal, (then, then))
        run(_engine(), _set(4), [], run_key="another")
        assert len(list(state_folder().iterdir())) == left


def test_a_run_is_resumed_however_old_it_is():
    finished = _stopped(_set(10), [])
    (journal,) = state_folder().glob("*/journal.jsonl")
    os.utime(journal, (0, 0))
    assert run(_engine(), _set(10), [], run_key="k", resume=True).resumed == finished


def test_a_torn_last_line_is_ignored():
    with pytest.raises(KeyboardInterrupt):
        run(_interrupted(6), _set(10), [], run_key="k")
    (journal,) = state_folder().glob("*/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:9])
    assert run(_interrupted(100), _set(10), [], run_key="k", resume=True).resumed == 2


def test_a_state_folder_that_cannot_be_written_is_one_warning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    report = run(_engine(), _set(5), [], run_key="k")
    assert report.images == 5
    assert len(report.warnings) == 1
    assert "cannot be resumed" in report.warnings[0]


def test_a_journal_that_fails_on_the_way_is_one_warning_and_leaves_nothing(monkeypatch):
    def full(self, entry):
        if entry.get("index") == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("segplug.runtime.journal.Journal._write", full)
    report = run(_engine(), _set(6), [], run_key="k")
    assert report.images == 6
    assert len(report.warnings) == 1
    assert "No space left" in report.warnings[0]
    assert not list(state_folder().iterdir())


def test_two_runs_of_one_kind_do_not_share_a_journal():
    reports = []

    def function(batch):
        if not reports:
            reports.append(None)
            reports.append(run(_engine(), _set(4), [], run_key="k"))
        return batch.copy()

    assert not run(_engine(function), _set(4), [], run_key="k").warnings
    assert "another process or thread" in reports[1].warnings[0]


def test_the_same_run_in_a_second_process_warns_and_leaves_the_first_ones_journal():
    script = """
        from segplug.progress import QuietReporter
        from segplug.runtime.journal import Entry, Journal

        reporter = QuietReporter()
        journal = Journal("k", images=9, resume=True, reporter=reporter)
        print(*reporter.warnings)
        journal.append(1, Entry({}, []))
        journal.close(finished=True)
    """
    first = Journal("k", images=9, resume=False, reporter=QuietReporter())
    first.append(0, Entry({}, []))
    command = [sys.executable, "-c", textwrap.dedent(script)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "another process or thread" in answer.stdout
    first.close(finished=False)
    again = Journal("k", images=9, resume=True, reporter=QuietReporter())
    assert list(again.done) == [0]
    again.close(finished=True)
    assert not list(state_folder().iterdir())


def test_the_default_state_folder_on_linux(monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_folder() == Path.home() / ".local" / "state" / "segplug" / "runs"


_KILLED = """
    import sys, time
    import numpy as np
    from pathlib import Path
    from segplug.engine import EngineSpec
    from segplug.model import ModelMeta
    from segplug.runtime.folder import FolderDataset
    from segplug.runtime.pipeline import run
    from segplug.runtime.raw import RawSink
    from segplug.runtime.sinks import PaintSink, ScoreSink
    from segplug.testing.engines import FunctionEngine

    folder, out, delay, resume = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "1"
    meta = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)

    def network(batch):
        time.sleep(delay)
        return np.roll(batch, 3, axis=3)

    report = run(
        FunctionEngine(EngineSpec(meta, "logits"), network),
        FolderDataset(folder),
        [ScoreSink(), RawSink(out / "raw.npz", force=True), PaintSink(out / "painted")],
        resume=resume,
        run_key="k",
    )
    import json
    print(json.dumps([report.resumed, report.scores.to_dict()]))
"""


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_ended_loses_nothing(tmp_path, ended_by):
    """Killed, or Ctrl-C, in the middle of a run; the resumed run gives the very same files and scores."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_KILLED))
    data = _files(tmp_path / "data", 40)

    def start(out, delay, resume, state):
        (tmp_path / out).mkdir(exist_ok=True)
        command = [sys.executable, script, data, tmp_path / out, delay, "1" if resume else "0"]
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / state), "OMP_NUM_THREADS": "1"}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        return subprocess.Popen(list(map(str, command)), env=environment, **output)

    victim = start("killed", 0.05, False, "state1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "killed").glob("painted/*.png"))) < 8:
        time.sleep(0.01)
    victim.send_signal(ended_by)
    victim.communicate(timeout=60)
    assert victim.returncode != 0
    assert not (tmp_path / "killed" / "raw.npz").exists()

    resumed, scores = json.loads(start("killed", 0, True, "state1").communicate(timeout=60)[0])
    assert 6 <= resumed < 40
    nothing, expected = json.loads(start("whole", 0, False, "state2").communicate(timeout=60)[0])
    assert nothing == 0
    assert scores == expected
    with np.load(tmp_path / "killed" / "raw.npz") as one, np.load(tmp_path / "whole" / "raw.npz") as other:
        assert list(one) == list(other)
        assert all(np.array_equal(one[name], other[name]) for name in other)
    painted = sorted(path.name for path in (tmp_path / "killed" / "painted").glob("[!.]*"))
    assert len(painted) == 40
    for name in painted:
        whole = (tmp_path / "whole" / "painted" / name).read_bytes()
        assert (tmp_path / "killed" / "painted" / name).read_bytes() == whole


def test_a_run_that_stops_says_how_to_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(_interrupted(6), _set(10), [], run_key="k")
    (how,) = stopped.value.args
    assert re.fullmatch(r"[3-6] of 10 images done: --resume goes on with the others", how)
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(_interrupted(6), _set(10), [])  # no journal
    assert stopped.value.args == ()
    folder = _files(tmp_path, 4)
    (folder / "images" / "03.png").write_bytes(b"\x00 no image")
    with pytest.raises(DatasetError) as error:
        run(_engine(), FolderDataset(folder), [ScoreSink()], run_key="k", skip_hint=True)
    assert error.value.hint == (
        "--on-error skip leaves such images out, and lists them; "
        "3 of 4 images done: --resume goes on with the others"
    )
    with pytest.raises(DatasetError) as error:
        run(_engine(), ImageList([folder / "images" / "03.png"]), [], run_key="k")
    assert error.value.hint is None


def test_the_command_line_says_it(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt("3 of 10 images done: --resume goes on with the others")

    monkeypatch.setattr(root, "invoke", interrupt)
    assert run_command_line(["plugins", "list"]) == 130
    printed = capsys.readouterr().err
    assert printed == "error: interrupted (3 of 10 images done: --resume goes on with the others)\n"
