"""``segplug info``: what a file is, whatever it is, and nothing in it is run."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from segplug import ModelMeta, Segplug
from segplug.artifact import write_sidecar
from segplug.cli.root import run_command_line
from segplug.errors import ArtifactError, UsageError
from segplug.info import FileInfo, InstalledBackend
from segplug.legend import LegendEntry
from segplug.preprocessing import Resize, usual_steps

CLASSES = ("road", "<b>car</b>")
META = ModelMeta(
    name="street",
    classes=CLASSES,
    palette=((128, 64, 128), (0, 0, 142)),
    preprocessing=usual_steps((1, 2, 3), (4, 5, 6), resize=Resize(scale=(64, 32))),
    input_size=(32, 64),
    out_channels=2,
    verification={
        "passed": True,
        "reference": "PyTorch",
        "date": "2026-01-02T03:04:05+00:00",
        "pixels": 9000,
    },
    versions={"torch": "2.13"},
)


def checkpoint(path: Path, **meta: Any) -> Path:
    state = {"backbone.a": torch.zeros(2, 3), "backbone.b": torch.zeros(4), "decode_head.c": torch.zeros(1)}
    torch.save({"state_dict": state, "meta": meta, "optimizer": {}}, path)
    return path


def test_a_checkpoint(tmp_path: Path) -> None:
    path = checkpoint(
        tmp_path / "w.pth", CLASSES=CLASSES, PALETTE=[[1, 2, 3], [4, 5, 6]], epoch=3, mmseg_version="0.30.0"
    )
    found = Segplug().info(path)
    assert (found.kind, found.format, found.what) == ("checkpoint", "pth", "PyTorch checkpoint")
    assert found.legend == (LegendEntry(0, "road", (1, 2, 3)), LegendEntry(1, "<b>car</b>", (4, 5, 6)))
    assert found.details == {
        "tensors": 3,
        "values": 11,
        "types": {"float32": 3},
        "parts": {"backbone": "2 tensors", "decode_head": "1 tensor"},
        "training": {"epoch": 3, "mmseg_version": "0.30.0"},
        "also holds": ["optimizer"],
    }
    assert found.next == (f"segplug export onnx CONFIG.py --checkpoint {path} --output model.onnx --verify",)


@pytest.mark.parametrize(
    "palette", [None, [[1, 2, 3]], [[1, 2], [3, 4]], [["a", "b", "c"], [1, 2, 3]], "red"]
)
def test_a_palette_that_is_none(tmp_path: Path, palette: Any) -> None:
    found = Segplug().info(checkpoint(tmp_path / "w.pth", CLASSES=list(CLASSES), PALETTE=palette))
    assert [entry.painted for entry in found.legend] == [False, False]


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def test_a_pickle_with_more_than_data_is_not_read(tmp_path: Path) -> None:
    path, trace = tmp_path / "w.pth", tmp_path / "it-was-run"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "more": Evil(trace)}, path)
    found = Segplug().info(path)
    assert not trace.exists()
    assert found.details == {}
    assert "not known to be harmless: it was not read" in found.notes[0]


def test_a_config_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text("model = dict(type='EncoderDecoder')\nraise SystemExit('it was run')\n")
    found = Segplug().info(path)
    assert (found.kind, found.format) == ("config", "mmseg")
    assert "it was not run" in found.notes[0]


def test_a_file_that_only_may_be_a_config_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_bytes(b"\x93\x00\xff")
    found = Segplug().info(path)
    assert found.what.startswith("perhaps a config")
    assert "or damaged" in found.notes[0]


@pytest.mark.parametrize("name", ["m.engine", "m.onnx", "w.pth", "net.py"])
def test_an_empty_file_is_none_of_them(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ArtifactError, match=f"{name} is empty"):
        Segplug().info(tmp_path / name)


@pytest.mark.parametrize("name", ["photo.png", "notes.txt", "folder"])
def test_what_nobody_knows_is_one_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"nothing")
    assert run_command_line(["info", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: no installed plugin knows what {path} is")


@pytest.mark.parametrize("location", ["http://127.0.0.1:1", "python:nets:net", "missing.onnx"])
def test_what_is_no_file(location: str) -> None:
    with pytest.raises(UsageError, match=r"is no file|there is no file"):
        Segplug().info(location)


def test_a_weights_file_of_the_first_format_is_no_artifact(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    assert Segplug().info(path).kind == "checkpoint"
    path.write_bytes(pickle.dumps([1, 2]))
    assert run_command_line(["info", str(path)]) == 1


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "m.engine"
    path.write_bytes(b"plan")
    write_sidecar(path, META)
    return path


def test_what_is_printed_and_the_document(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["info", str(engine)]) == 0
    printed = capsys.readouterr().out
    for text in (
        "m.engine: TensorRT engine, ",
        "preprocessing           1. Resize to 64x32 (width x height) (OpenCV, bilinear).\n",
        "                        2. Reverse the channels (BGR to RGB).\n",
        "yes, against PyTorch, on 2026-01-02",
        "0 road, 1 <b>car</b>",
    ):
        assert " ".join(text.split()) in " ".join(printed.split())
    assert not any(line.endswith(" ") for line in printed.splitlines())
    assert run_command_line(["info", str(engine), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(json.dumps(Segplug().info(engine).to_dict()))
    assert document["labels"][1] == {"label": 1, "name": "<b>car</b>", "colour": [0, 0, 142]}
    assert ModelMeta.from_dict(document["meta"]) == META


def test_long_names_are_shortened_where_they_are_printed(engine: Path, capsys) -> None:
    write_sidecar(engine, dataclasses.replace(META, classes=("n" * 10_000, "car")))
    assert run_command_line(["info", str(engine)]) == 0
    assert len(capsys.readouterr().out) < 3_000


def test_views_are_short_and_escaped(engine: Path) -> None:
    found = Segplug().info(engine)
    assert repr(found) == f"<FileInfo {found.title}, 2 classes>"
    for view in (found._repr_html_(), META._repr_html_()):
        assert "&lt;b&gt;car&lt;/b&gt;" in view
        assert "<b>" not in view
        assert "rgb(128,64,128)" in view


def test_a_backend_that_cannot_run_here_says_why() -> None:
    info = FileInfo(
        path=Path("m.x"),
        kind="artifact",
        format="x",
        what="x file",
        files={"m.x": 1500, "m.x.json": 20},
        backends=(InstalledBackend("npu", "acme", "npu:0", "no NPU"), InstalledBackend("cpu", "acme", "cpu")),
    )
    assert info.facts() == (
        ("files", ("m.x, 1.5 kB", "m.x.json, 20 bytes")),
        ("opened by", ("npu: not on this machine: no NPU", "cpu (cpu)")),
    )
