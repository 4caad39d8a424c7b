"""Sinks of runs that fail or are killed: no half file, no empty folder, and older files as they were."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from segplug.dataset import DatasetInfo
from segplug.engine import EngineSpec
from segplug.errors import ArtifactError, DatasetError, UsageError
from segplug.files import write_bytes
from segplug.model import ModelMeta
from segplug.runtime.confidence import ConfidenceSink
from segplug.runtime.pipeline import run
from segplug.runtime.raw import RawSink
from segplug.runtime.sinks import LabelMapSink, PaintSink, ScoreSink
from segplug.testing.engines import ArrayDataset, FunctionEngine

META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)


def _engine() -> FunctionEngine:
    return FunctionEngine(EngineSpec(META, "logits"), lambda batch: batch.copy())


def _broken_engine():
    def broken(batch):
        raise RuntimeError("the engine broke")

    return FunctionEngine(EngineSpec(META, "logits"), broken)


def _images(number: int = 3) -> list[np.ndarray]:
    return [np.full((20, 30, 3), index, np.uint8) for index in range(number)]


class _Named(ArrayDataset):
    def __init__(self, images, names, parts=()):
        super().__init__(images, info=DatasetInfo("named", META.classes, has_masks=False, parts=parts))
        self._names = names

    def name(self, index: int) -> str:
        return self._names[index]


def test_a_failed_run_leaves_no_raw_file(tmp_path):
    with pytest.raises(RuntimeError, match="broke"):
        run(_broken_engine(), ArrayDataset(_images()), [RawSink(tmp_path / "raw.npz")])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [PaintSink, LabelMapSink])
def test_a_full_disk_is_one_clear_error_and_leaves_no_half_file(tmp_path, monkeypatch, make):
    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left on device") as caught:
        run(_engine(), ArrayDataset(_images()), [make(tmp_path)])
    assert "0000.png" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_older_file_survives_a_failed_write(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ArtifactError):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_full_disk_while_packing_raw_results_is_one_clear_error(tmp_path, monkeypatch):
    out = tmp_path / "raw.npz"
    sink = RawSink(out)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ArtifactError, match=r"raw\.npz.*No space left"):
        run(_engine(), ArrayDataset(_images()), [sink])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [PaintSink, LabelMapSink, ConfidenceSink])
@pytest.mark.parametrize("key", ["", "a run with a journal"])
def test_a_failed_run_removes_the_empty_folders_that_it_made(tmp_path, make, key):
    dataset = _Named(_images(2), ["x/a.png", "y/b.png"], parts=(("x", 1), ("y", 1)))
    with pytest.raises(RuntimeError, match="broke"):
        run(_broken_engine(), dataset, [make(tmp_path / "new" / "out")], run_key=key)
    assert not list(tmp_path.iterdir())
    (tmp_path / "new" / "out").mkdir(parents=True)
    with pytest.raises(RuntimeError, match="broke"):
        run(_broken_engine(), dataset, [make(tmp_path / "new" / "out")], run_key=key)
    assert (tmp_path / "new" / "out").is_dir()


def test_a_folder_that_the_folders_of_several_sinks_lie_in_goes_too(tmp_path):
    sinks = [LabelMapSink(tmp_path / "new" / "a"), PaintSink(tmp_path / "new" / "b")]
    with pytest.raises(RuntimeError, match="broke"):
        run(_broken_engine(), ArrayDataset(_images()), [*sinks, RawSink(tmp_path / "new" / "c.npz")])
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_sink_goes_if_another_sink_cannot_be_opened(tmp_path):
    with pytest.raises(UsageError, match="no masks"):
        run(_engine(), ArrayDataset(_images()), [PaintSink(tmp_path / "out"), ScoreSink()])
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_run_that_failed_later_keeps_its_results(tmp_path):
    engine = _engine()
    dataset = _Named([*_images(2), np.zeros((3, 3, 3), np.uint8)], ["a.png", "b.png", "c.png"])
    dataset.read_image = _fails_at(2, dataset.read_image)
    with pytest.raises(DatasetError):
        run(engine, dataset, [PaintSink(tmp_path / "out")])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


def _fails_at(bad, read):
    def reads(index, *arguments):
        if index == bad:
            raise DatasetError("damaged")
        return read(index, *arguments)

    return reads


@pytest.mark.parametrize("make", [PaintSink, LabelMapSink, RawSink])
def test_what_a_killed_run_left_in_the_output_folder_is_removed(tmp_path, make):
    folder = tmp_path / "out"
    out = folder / "raw.npz" if make is RawSink else folder
    folder.mkdir()
    script = """
        import os, signal, sys
        from pathlib import Path
        from segplug import files

        os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        files.write_bytes(Path(sys.argv[1]) / "a.png", b"half")
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(folder)])
    assert killed.returncode == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 1
    run(_engine(), _Named(_images(1), ["b.png"]), [make(out)])
    assert [path.name for path in folder.iterdir()] == ["raw.npz" if make is RawSink else "b.png"]
