"""Metadata of other tools that is damaged, contradicts the file, or is of another task: one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx_support import mmdeploy_file, optimum_file, ultralytics_file
from segplug_onnx.makers.literals import literal

from segplug import Segplug
from segplug.errors import ArtifactError, SegplugError, UsageError

DEEP = "[" * 100_000 + "]" * 100_000


def _refused(path: Path, message: str) -> None:
    """Opening it is an error of one line, and ``info`` tells the same in a note."""
    with pytest.raises(SegplugError, match=message) as raised, Segplug().open(path):
        pass
    text = str(raised.value)
    assert text.isprintable(), text
    assert len(text) < 1000, text
    found = Segplug().info(path)
    assert found.meta is None
    assert any(raised.value.message in note for note in found.notes), found.notes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "detect"}, "Ultralytics 8.4.190 for the task 'detect'"),
        ({"task": "de\x1b[31mtect\n"}, "for the task 'de.*tect"),
        ({"task": "x" * 100_000}, "for the task 'xxx"),
        ({"names": None}, "its metadata of Ultralytics has no names"),
        ({"names": "not python"}, "names in its metadata is 'not python', and a Python literal is expected"),
        ({"names": DEEP}, "names in its metadata is .* a Python literal is expected"),
        ({"names": "-" * 100_000 + "1"}, "a Python literal is expected"),
        ({"names": "__import__('os').getcwd()"}, "a Python literal is expected"),
        ({"names": "{0: 'a', 2: 'b'}"}, "a name for each of the labels 0, 1, 2"),
        ({"names": "{0: 1, 1: 2}"}, "a name for each label is expected"),
        ({"names": "{}"}, "a name for each of the labels"),
        ({"names": "7"}, "a name for each label is expected"),
        ({"names": "{True: 'a', 1.5: 'b'}"}, "a name for each of the labels"),
        ({"imgsz": "[0, 64]"}, "a height and a width is expected"),
        ({"imgsz": "[64]"}, "a height and a width is expected"),
        ({"imgsz": "'64'"}, "a height and a width is expected"),
        ({"imgsz": "[1000000, 1000000]"}, "an input of 1000000x1000000 is too large"),
        (
            {"imgsz": "[32, 96]"},
            r"imgsz in its metadata is 32x96 \(height x width\), and its input is images",
        ),
        ({"channels": "7"}, "a number from 1 to 4 is expected"),
        ({"channels": "2"}, "takes images of 2 channels"),
    ],
)
def test_ultralytics(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    _refused(ultralytics_file(tmp_path / "m.onnx", **changes), message)


def _contradicts(path: Path, message: str) -> None:
    with pytest.raises(ArtifactError, match=message), Segplug().open(path):
        pass


def test_a_network_without_an_input(tmp_path: Path) -> None:
    path = ultralytics_file(tmp_path / "m.onnx")
    model = onnx.load(path)
    del model.graph.input[:]
    onnx.save(model, path)
    assert any("it has no input" in note for note in Segplug().info(path).notes)


def test_channels_of_another_number_than_the_input_s(tmp_path: Path) -> None:
    path = ultralytics_file(tmp_path / "m.onnx", channels="1")
    _contradicts(path, "the metadata in it says images of 1 channel, and its input is images")


def test_names_for_another_number_of_scores(tmp_path: Path) -> None:
    path = ultralytics_file(tmp_path / "m.onnx", scores=True, names="{0: 'a', 1: 'b'}")
    _contradicts(path, "the metadata in it says 2 classes, and its output is output0")


@pytest.mark.parametrize("stride", ["0", "None", "1.5", "5000"])
def test_a_stride_that_none_has(tmp_path: Path, stride: str) -> None:
    _refused(ultralytics_file(tmp_path / "m.onnx", dynamic=True, stride=stride), "stride in its metadata is")


def _steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"transforms": list(steps)}


RESIZE = {"type": "Resize", "size": [96, 64]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deploy": {"task": "Detector"}}, "is for the task 'Detector'"),
        ({"deploy": {"task": None}}, "is for the task None"),
        ({"after": {"component": "ResizeInstanceMask"}}, "only ResizeMask is followed exactly"),
        ({"after": {"params": {"num_classes": "4"}}}, "num_classes of ResizeMask is '4'"),
        ({"after": {"params": []}}, "num_classes of ResizeMask is None"),
        (_steps(RESIZE, {"type": "CenterCrop", "crop_size": 7}), "the step 'CenterCrop' cannot be followed"),
        (_steps({"type": "LoadImageFromFile", "color_type": "grayscale"}), "the step 'LoadImageFromFile'"),
        (_steps({"type": "Resize", "size": 7}), "its size is 7"),
        (_steps({"type": "Resize", "size": [0, 7]}), "scale"),
        (_steps({"type": "Resize", "size": [7, "x"]}), "scale"),
        (_steps(RESIZE | {"interpolation": "magic"}), "its interpolation is 'magic'"),
        (_steps({"type": "Pad", "size": [64, 64]}), "only size_divisor and pad_val are: 'size'"),
        (_steps({"type": "Normalize", "mean": [0, 0, 0], "std": [1, 0, 1]}), "std"),
        (_steps({"type": "Normalize", "mean": [0], "std": [1]}), "the mean of step 'normalize' has 1 value"),
        (
            _steps({"type": "Normalize", "mean": [0] * 3, "std": [1] * 3, "to_float": False}),
            "to_float is false",
        ),
    ],
)
def test_mmdeploy(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    _refused(mmdeploy_file(tmp_path / "m", **changes), message)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pipeline.json", "{", "is no JSON"),
        ("pipeline.json", "[]", "holds no JSON object"),
        ("pipeline.json", "{}", "has no list of tasks"),
        ("pipeline.json", '{"pipeline": {"tasks": [1]}}', "has no list of tasks"),
        ("pipeline.json", '{"pipeline": {"tasks": []}}', "does not say what follows the network"),
        ("pipeline.json", DEEP, "is no JSON"),
        ("pipeline.json", '{"a": ' + "[" * 500 + "]" * 500 + "}", "more than 64 objects and lists"),
        ("deploy.json", "\xff", "is no JSON"),
    ],
)
def test_files_of_mmdeploy_that_are_damaged(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = mmdeploy_file(tmp_path / "m")
    (path.parent / name).write_text(text, "latin-1")
    _refused(path, message)


def test_files_of_another_network_of_mmdeploy_do_not_count(tmp_path: Path) -> None:
    path = mmdeploy_file(tmp_path / "m", deploy={"models": [{"net": "other.onnx"}]})
    assert "made by" not in Segplug().info(path).details


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["BertModel"]}, "BertModel is no segmentation model"),
        ({"id2label": {"0": "a", "5": "b"}}, "id2label has no label 1"),
    ],
)
def test_a_folder_of_optimum(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    _refused(optimum_file(tmp_path / "m", **config), message)


def test_a_folder_of_optimum_with_other_classes_than_scores(tmp_path: Path) -> None:
    path = optimum_file(tmp_path / "m", id2label={"0": "a", "1": "b"})
    _contradicts(path, "beside it says 2 classes, and its output is logits")


def test_a_folder_of_optimum_that_no_installed_source_reads(tmp_path: Path, monkeypatch) -> None:
    def unknown(self: Segplug, location: Any, **options: Any) -> None:
        raise UsageError(f"no installed source reads {location}")

    monkeypatch.setattr(Segplug, "describe_model", unknown)
    with (
        pytest.raises(UsageError, match="pip install segplug-transformers"),
        Segplug().open(optimum_file(tmp_path / "m")),
    ):
        pass


def test_a_config_that_is_no_json_beside_an_input_of_transformers(tmp_path: Path) -> None:
    path = optimum_file(tmp_path / "m")
    (path.parent / "config.json").write_text("{", "utf-8")
    _refused(path, "config.json is no JSON")
    (path.parent / "config.json").write_text(json.dumps({"layers": 3}), "utf-8")
    assert "made by" not in Segplug().info(path).details


def test_a_file_that_the_user_describes_runs_whatever_its_metadata_says(tmp_path: Path) -> None:
    path = ultralytics_file(tmp_path / "m.onnx", names="?")
    given: dict[str, Any] = {"output_kind": "labels", "mean": (0.0,), "std": (255.0,), "classes": ("4",)}
    with Segplug().open(path, **given) as engine:
        assert engine.spec.meta.num_labels == 4


@pytest.mark.parametrize(
    "text",
    ["[1, 2.5, -3]", "{0: 'a', 1: \"it's\"}", "(None, True, False)", "'\\n'", " 1e5", "{'a': [1, {}]}"],
)
def test_literals_are_read_as_python_reads_them(text: str) -> None:
    assert literal(text) == eval(text, {"__builtins__": {}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abs(1)",
        "a",
        "[x for x in 'a']",
        "f'{1}'",
        "b''",
        "9**9**9",
        "1 if 1 else 2",
        "not " * 10_000 + "1",
        "lambda: 1",
        "'a' " * 2_000_000,
        "-" * 1_000_000 + "1",
        "9" * 5_000,
        "(" * 5_000,
        "{[]: 1}",
        "'",
        "\x00",
        DEEP,
    ],
)
def test_what_is_no_literal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it |malformed|digits|null"):
        literal(text)
