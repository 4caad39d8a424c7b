"""``analyze benchmark``: who is timed, in which order, in which process, and what becomes of failures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis_support.benchmark_toys import Toys, benchmark, install_toys
from segplug_analysis.benchmark.measure import order_of

from segplug.api import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import DeviceError, PluginError, RefusedError, SegplugError, ShapeError, UsageError
from segplug.progress import QuietReporter
from segplug.testing.fixtures import Install

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "demo" / "config.py"
WEIGHTS = ROOT / "demo" / "weights.pth"


@pytest.fixture
def toys(install_plugin: Install, tmp_path: Path) -> Toys:
    return install_toys(install_plugin, tmp_path)


def test_command_line_times_a_config_and_its_artifact_side_by_side(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = Segplug()
    model = session.load_model(CONFIG, checkpoint=WEIGHTS)
    artifact = session.export(
        "onnx", model, output=tmp_path / "model.onnx", shape=(32, 64), output_kind="labels"
    )

    code = run_command_line(
        [
            *("run", "analyze", "benchmark", str(CONFIG), str(artifact.path), "--checkpoint", str(WEIGHTS)),
            *("--runs", "12", "--warmup", "1", "--threads", "1"),
            *("--html", str(tmp_path / "page.html"), "--json"),
        ]
    )

    shown = capfd.readouterr()
    assert code == 0, shown.err
    torch, onnx = json.loads(shown.out)["candidates"]
    assert (torch["name"], onnx["name"]) == ("config.py on pytorch", "model.onnx on onnxruntime")
    assert torch["engine"].startswith("pytorch")
    assert onnx["engine"].startswith("onnxruntime")
    # The artifact's one size is what the model is timed at too: its own test scale is 256x512.
    assert torch["input_shape"] == onnx["input_shape"] == [1, 3, 32, 64]
    assert (torch["output"], onnx["output"]) == ("logits", "labels")
    for found in (torch, onnx):
        assert found["threads"] == 1
        assert [len(block) for block in found["times_ms"]] == [2, 2, *[1] * 8]
        times = [time_ms for block in found["times_ms"] for time_ms in block]
        assert found["median_ms"] == pytest.approx(np.median(times))
        assert found["p95_ms"] == pytest.approx(np.percentile(times, 95))
        assert found["images_per_second"] == pytest.approx(1000 / np.mean(times))
        assert found["start_seconds"] > found["open_seconds"] > 0
    # One process holds PyTorch and the other does not.
    assert torch["peak_memory_mb"] > onnx["peak_memory_mb"] > 10
    assert torch["ratio_to_first"] == 1
    assert "some engines give labels and some logits" in shown.err
    page = (tmp_path / "page.html").read_text()
    assert ">model.onnx on onnxruntime</text>" in page
    assert "model.onnx on onnxruntime" in page


def test_the_engines_take_turns_and_see_the_same_pictures(toys: Toys) -> None:
    subjects = [toys.make(name) for name in "abc"]

    report = benchmark(*subjects, runs=20, warmup=3, batch=2, shape=(4, 6))

    runs = toys.log("run")
    assert {tuple(entry["shape"]) for entry in runs} == {(2, 3, 4, 6)}
    assert len({entry["first"] for entry in runs}) == 1
    names = "".join(entry["name"] for entry in runs)
    assert names.startswith("abc" + "aaabbbccc")  # every first run, then every warm-up
    # A block of two, after one that is not counted.
    blocks = names[12:]
    assert blocks == "".join(name * 3 for name in "abc cba bca acb cab bac abc cba bca acb".replace(" ", ""))
    assert len({entry["pid"] for entry in runs}) == 3
    assert all(len(found["times_ms"]) == 10 for found in report.data["candidates"])
    assert len(toys.log("closed")) == 3
    assert toys.are_gone()


def test_turns_favour_no_place(toys: Toys) -> None:
    places = np.array([[order_of("abcd", number).index(name) for name in "abcd"] for number in range(8)])
    assert places.mean(axis=0).tolist() == [1.5] * 4


def test_what_was_asked_reaches_the_process(toys: Toys) -> None:
    report = benchmark(
        toys.make("a"),
        threads=3,
        device="tpu:7",
        backend_options={"toy.wish": "a longer life"},
        trust_artifact=True,
        allow_nonfinite=True,
    )

    (asked,) = toys.log("asked")
    assert (asked["threads"], asked["device"], asked["wish"]) == (3, "tpu:7", "a longer life")
    assert (asked["trust_artifact"], asked["allow_nonfinite"]) == (True, True)
    (found,) = report.data["candidates"]
    assert (found["threads"], found["device"]) == (3, "tpu:7")
    assert asked["pid"] != os.getpid()


def test_each_engine_runs_on_its_backends_own_device_unless_one_is_named(toys: Toys) -> None:
    subjects = [toys.make("a"), toys.make("b", ".npu")]

    report = benchmark(*subjects)

    assert [asked["device"] for asked in toys.log("asked")] == ["cpu", "npu:0"]
    assert [found["device"] for found in report.data["candidates"]] == ["cpu", "npu:0"]
    (engines,) = (table for table in report.tables if table.title == "Engines")
    assert [row[engines.columns.index("device")] for row in engines.rows] == ["cpu", "npu:0"]
    benchmark(*subjects, device="npu:0")
    assert [asked["device"] for asked in toys.log("asked")[2:]] == ["npu:0", "npu:0"]
    with pytest.raises(DeviceError, match=r"b\.npu on npu: there is no NPU cpu"):
        benchmark(*subjects, device="cpu")


def test_the_processes_have_the_callers_addons_with_its_options(
    install_plugin: Install, tmp_path: Path
) -> None:
    toys = install_toys(install_plugin, tmp_path, rule=True)
    with pytest.raises(RefusedError, match=r"a\.toy on toy: no toys are allowed"):
        benchmark(toys.make("a"))
    assert not toys.log("run")

    benchmark(toys.make("a"), session=Segplug(addon_options={"no-toys": {"allow": True}}))
    assert toys.log("run")
    benchmark(toys.make("b"), session=Segplug(without_addons=["no-toys"]))
    assert {entry["name"] for entry in toys.log("run")} == {"a", "b"}


def test_peak_memory_is_the_engines_own(toys: Toys) -> None:
    held = np.ones(500_000_000 // 8)  # this process is large, and its children start as its copies

    report = benchmark(toys.make("a"))

    assert held.sum() == held.size
    assert 5 < report.data["candidates"][0]["peak_memory_mb"] < 400


def test_each_engine_has_its_own_size_and_free_ones_take_the_first_fixed_one(toys: Toys) -> None:
    fixed, free, other = toys.make("fixed", size=[6, 4]), toys.make("free"), toys.make("other", size=[2, 2])

    report = benchmark(free, fixed, other)

    shapes = [found["input_shape"][2:] for found in report.data["candidates"]]
    assert shapes == [[6, 4], [6, 4], [2, 2]]
    assert any("different shapes" in note for note in report.notes)
    assert benchmark(free).data["candidates"][0]["input_shape"] == [1, 3, 8, 16]


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_images_have_the_channels_of_the_model(toys: Toys, channels: int) -> None:
    report = benchmark(toys.make("a", channels=channels), toys.make("b"))

    assert [entry["input_shape"] for entry in report.data["candidates"]] == [
        [1, channels, 8, 16],
        [1, 3, 8, 16],
    ]
    assert {(entry["name"], *entry["shape"]) for entry in toys.log("run")} == {
        ("a", 1, channels, 8, 16),
        ("b", 1, 3, 8, 16),
    }
    assert any("different shapes" in note for note in report.notes)


def test_what_is_left_out_of_a_model_is_said(toys: Toys) -> None:
    said: dict[str, Any] = {"approximations": ["no blur"]}

    report = benchmark(toys.make("a", views=6, **said), toys.make("b", **said))

    assert any("pipeline (6 views): one run is one view of an image" in note for note in report.notes)
    assert [note for note in report.notes if "approximate" in note] == ["approximate: no blur"]
    first, second = report.data["candidates"]
    assert (first["views_left_out"], second["views_left_out"]) == (6, 0)
    assert first["approximations"] == second["approximations"] == ["no blur"]
    plain = benchmark(toys.make("c"))
    assert not any("test-time augmentation" in note or "approximate" in note for note in plain.notes)


def test_the_same_file_twice_is_two_engines(toys: Toys) -> None:
    one = toys.make("a")
    report = benchmark(one, one)
    assert [found["name"] for found in report.data["candidates"]] == ["a.toy on toy", "a.toy on toy (2)"]
    (toys.folder / "b").mkdir()
    other = Toys(toys.folder / "b").make("a")
    names = [found["name"] for found in benchmark(one, other).data["candidates"]]
    assert names == [f"{one} on toy", f"{other} on toy"]


@pytest.mark.parametrize(
    ("does", "kind", "words"),
    [
        ("refuses", ShapeError, r"bad\.toy on toy: the toy does not take this \(take another\)"),
        ("stumbles", PluginError, r"bad\.toy on toy: ValueError: a bug of the toy; .*the end of its stderr"),
        (
            "dies",
            PluginError,
            r"its process ended with code 3; the end of .*the accelerator melted",
        ),
        ("is_killed", PluginError, r"ended with signal SIGKILL.*memory runs out"),
    ],
)
def test_a_failure_names_the_engine_and_stops_all(
    toys: Toys, does: str, kind: type[SegplugError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        benchmark(toys.make("good"), toys.make("bad", does=does))
    assert [entry["name"] for entry in toys.log("run")] == ["good", "bad"]  # nothing was timed
    assert toys.are_gone()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"shape": (9, 9)}, ShapeError, r"fixed\.toy on toy does not take a height of 9, only 6"),
        ({"shape": (1, 2, 3)}, UsageError, "height and width, not 3"),
        ({"backend": ("pytorch",)}, UsageError, r"none of the backends pytorch opens .*opened by toy"),
        ({"backend": ("toy", "onnxruntime")}, UsageError, "--backend onnxruntime: this backend takes none"),
        ({"backend": ("tyo",)}, UsageError, "did you mean 'toy'"),
        ({"checkpoint": (str(WEIGHTS),)}, UsageError, "--checkpoint belongs to a config"),
        ({"approximate": True}, UsageError, "--approximate belongs to a config"),
        ({"backend_options": {"wish": "x"}}, UsageError, "does not name its backend"),
        ({"backend_options": {"toy.wihs": "x"}}, UsageError, "did you mean 'wish'"),
        ({"backend_options": {"pytorch.x": "y"}}, UsageError, "pytorch: this backend takes none"),
    ],
)
def test_what_cannot_be_timed_is_refused_before_anything_runs(
    toys: Toys, options: dict[str, Any], kind: type[SegplugError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        benchmark(toys.make("fixed", size=[6, 4]), **options)
    assert not toys.log("run")


@pytest.mark.parametrize(
    ("subjects", "options", "words"),
    [
        (("nothing.toy",), {}, "there is no file nothing.toy"),
        (("nothing.py",), {}, "there is no file nothing.py"),
        ((str(WEIGHTS),), {}, "no installed backend opens .*weights.pth"),
        ((str(CONFIG),), {"backend": ("onnxruntime",)}, "none of the backends onnxruntime runs the config"),
        ((str(CONFIG),), {"checkpoint": (str(WEIGHTS),) * 2}, "names 2 files for 1 config"),
        ((str(CONFIG),), {"checkpoint": ("no.pth",)}, "there is no file no.pth"),
    ],
)
def test_wrong_subjects(subjects: tuple[str, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        benchmark(*subjects, **options)


def test_the_warnings_of_a_process_are_told(toys: Toys) -> None:
    reporter = QuietReporter()
    benchmark(toys.make("a", warns="this toy is old"), session=Segplug(reporter=reporter))
    assert reporter.warnings == ["a.toy on toy: this toy is old"]


def test_only_scores_that_are_not_finite_are_warned_of(toys: Toys) -> None:
    """Random values are no images, so that nothing is stretched to a fixed size."""
    reporter = QuietReporter()
    subjects = [toys.make("small", size=[8, 8]), toys.make("sick", does="overflows")]
    session = Segplug(reporter=reporter)
    session.analyze("benchmark", *subjects, shape=(8, 8), runs=1, warmup=0)
    said = "its scores are NaN or infinite; sound weights may take another time"
    assert reporter.warnings == [f"sick.toy on toy: {said}"]
