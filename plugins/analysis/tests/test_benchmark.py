"""``analyze benchmark``: who is timed, in which order, in which process, and what becomes of failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segplug_analysis.benchmark.candidates import Candidate
from segplug_analysis.benchmark.chart import Bar, bars
from segplug_analysis.benchmark.machine import this_machine
from segplug_analysis.benchmark.measure import Measured, Plan, order_of
from segplug_analysis.benchmark.report import make_report
from segplug_analysis.benchmark.statistics import percentile, summarise

from segplug import discovery
from segplug.api import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import PluginError, RefusedError, SegplugError, ShapeError, UsageError
from segplug.reporting import QuietReporter
from segplug.reports.page import as_page

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "demo" / "config.py"
WEIGHTS = ROOT / "demo" / "weights.pth"

TOY = """
import json, os, signal, sys, time
from dataclasses import dataclass
from segplug import Axis, EngineSpec, ModelMeta, hookimpl, option
from segplug.errors import RefusedError, ShapeError


@dataclass(frozen=True)
class Options:
    wish: str | None = option(None, help="Kept in the log.")


class Engine:
    def __init__(self, job, request):
        self.job = job
        size = {}
        if "size" in job:
            size = dict(zip(("height", "width"), map(Axis.fixed, job["size"])))
        meta = ModelMeta(name="toy", input_size=job.get("nominal"), out_channels=2)
        self.spec = EngineSpec(meta=meta, output=job.get("output", "logits"), backend="toy 1", **size)
        self.log("opened", threads=request.threads, device=request.device, wish=request.options.wish)

    def log(self, event, **more):
        entry = {"event": event, "name": self.job["name"], "pid": os.getpid(), **more}
        with open(self.job["log"], "a") as file:
            file.write(json.dumps(entry) + "\\n")

    def run(self, batch):
        self.log("run", shape=batch.shape, first=float(batch.flat[0]))
        print("a line of the library's own, on stdout")
        getattr(self, self.job.get("does", "nothing"))()
        return batch[:, :2]

    def nothing(self):
        pass

    def refuses(self):
        raise ShapeError("the toy does not take this", hint="take another")

    def stumbles(self):
        raise ValueError("a bug of the toy")

    def dies(self):
        print("the accelerator melted", file=sys.stderr)
        os._exit(3)

    def is_killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def naps(self):
        time.sleep(0.1)

    def hangs(self):
        time.sleep(60)

    def close(self):
        self.log("closed")


class Toy:
    api_version = 1
    options = Options
    takes = "artifact"

    @hookimpl
    def infer(self, request):
        job = json.loads(request.artifact.read_text())
        if "warns" in job:
            request.reporter.warn(job["warns"])
        return Engine(job, request)


class Rule:
    api_version = 1

    @hookimpl(wrapper=True)
    def infer(self, request):
        raise RefusedError("no toys in this house")
        yield


provider = Toy()
rule = Rule()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install the toy backend, and its rule if wanted, for this process and those that it starts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "site"
    info = folder / "toy-1.0.dist-info"

    def run(*, rule: bool = False) -> None:
        info.mkdir(parents=True)
        folder.joinpath("toy_plugin.py").write_text(textwrap.dedent(TOY))
        info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        points = "[segplug.infer]\ntoy = toy_plugin:provider\n"
        if rule:
            points += "[segplug.addon]\nno-toys = toy_plugin:rule\n"
        info.joinpath("entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(str(folder))
        discovery.forget()

    yield run
    sys.modules.pop("toy_plugin", None)
    discovery.forget()


class Toys:
    """Files that the toy backend opens, and the log of what their engines did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_file = folder / "log.jsonl"

    def make(self, name: str, **job: Any) -> str:
        path = self.folder / f"{name}.toy"
        job = {"name": name, "log": str(self.log_file), "nominal": [8, 16], **job}
        path.write_text(json.dumps(job))
        return str(path)

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def are_gone(self) -> bool:
        """Whether no process that opened an engine is left; waits for those that are about to end."""
        pids = {entry["pid"] for entry in self.log("opened")}
        assert pids
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pids = {pid for pid in pids if _runs(pid)}
            if not pids:
                return True
            time.sleep(0.05)
        return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def toys(tmp_path: Path, install: Callable[..., None]) -> Toys:
    install()
    return Toys(tmp_path)


def benchmark(*subjects: str, session: Segplug | None = None, **options: Any) -> Any:
    return (session or Segplug()).analyze("benchmark", *subjects, **{"runs": 4, "warmup": 0, **options})


def test_command_line_times_a_config_and_its_artifact_side_by_side(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = Segplug()
    model = session.load_model(CONFIG, checkpoint=WEIGHTS)
    artifact = session.export("onnx", model, output=tmp_path / "model.onnx", shape=(32, 64))

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
    assert "data:image/png;base64," in page
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
        toys.make("a"), threads=3, device="tpu:7", backend_options={"toy.wish": "a longer life"}
    )

    (opened,) = toys.log("opened")
    assert (opened["threads"], opened["device"], opened["wish"]) == (3, "tpu:7", "a longer life")
    (found,) = report.data["candidates"]
    assert (found["threads"], found["device"]) == (3, "tpu:7")
    assert opened["pid"] != os.getpid()


def test_addons_are_left_out_where_the_caller_left_them_out(
    tmp_path: Path, install: Callable[..., None]
) -> None:
    install(rule=True)
    toys = Toys(tmp_path)
    with pytest.raises(RefusedError, match=r"a\.toy on toy: no toys in this house"):
        benchmark(toys.make("a"))

    benchmark(toys.make("a"), session=Segplug(without_addons=["no-toys"]))

    assert toys.log("run")


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
        ("stumbles", PluginError, r"bad\.toy on toy: ValueError: a bug of the toy; .*last words"),
        ("dies", PluginError, r"its process ended with code 3; its last words: .*the accelerator melted"),
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
        ({"shape": (9, 9)}, ShapeError, r"fixed\.toy on toy: a height of 9 is not taken, only 6"),
        ({"shape": (1, 2, 3)}, UsageError, "height and width, not 3"),
        ({"backend": ("pytorch",)}, UsageError, r"none of the backends pytorch opens .*opened by toy"),
        ({"backend": ("toy", "onnxruntime")}, UsageError, "--backend onnxruntime: it takes none"),
        ({"backend": ("tyo",)}, UsageError, "did you mean 'toy'"),
        ({"checkpoint": (str(WEIGHTS),)}, UsageError, "--checkpoint belongs to a config"),
        ({"backend_options": {"wish": "x"}}, UsageError, "does not say whose option"),
        ({"backend_options": {"toy.wihs": "x"}}, UsageError, "did you mean 'wish'"),
        ({"backend_options": {"pytorch.x": "y"}}, UsageError, "pytorch: it takes none"),
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
        ((str(CONFIG),), {"checkpoint": (str(WEIGHTS),) * 2}, "names 2 files for 1 configs"),
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


def _started(toys: Toys, *, does: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own, when an engine is running in a second one."""
    subject = toys.make("slow", does=does)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "segplug", "run", "analyze", "benchmark", subject]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 30
    while not toys.log("run"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_an_interruption_leaves_no_process(toys: Toys) -> None:
    process = _started(toys, does="hangs")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does at Ctrl-C: all of the session get it
    _, shown = process.communicate(timeout=20)
    assert process.returncode == 130
    assert shown.decode().strip() == "error: interrupted"
    assert toys.are_gone()


def test_a_process_ends_by_itself_when_its_parent_is_killed(toys: Toys) -> None:
    process = _started(toys, does="naps")
    process.kill()
    process.communicate()
    assert toys.are_gone()


def _measured(name: str, rounds: list[list[float]], **engine: Any) -> Measured:
    candidate = Candidate(name, name, is_model=True, backend="x", device="cpu", threads=1)
    return Measured(
        candidate,
        {"engine": "x 1", "output": "logits", "slides": False, "open_seconds": 1.0, **engine},
        start_seconds=2.0,
        shape=(4, 3, 8, 8),
        rounds=rounds,
        memory={"peak_bytes": 10**6, "cuda_peak_bytes": None},
    )


def test_the_ratio_does_not_see_a_machine_that_gets_slower() -> None:
    slower = [1.0, 2.0, 4.0, 8.0]
    first = _measured("first", [[0.01 * factor, 0.01 * factor] for factor in slower])
    second = _measured("second", [[0.03 * factor, 0.03 * factor] for factor in slower])

    summary = summarise(second, first)

    assert summary.ratio == pytest.approx(3)
    assert summary.ratios == pytest.approx([3] * 4)
    assert summary.drift == pytest.approx((0.24 - 0.03) / 0.09)
    assert summary.images_per_second == pytest.approx(4 * 8 / (2 * 0.03 * 15))
    report = make_report([first, second], Plan(runs=8, warmup=0), this_machine())
    assert sum("the machine was not steady" in note for note in report.notes) == 2
    steady = make_report([_measured("a", [[0.01]] * 4)], Plan(runs=4, warmup=0), this_machine())
    assert not any("not steady" in note for note in steady.notes)


def test_what_differs_between_the_engines_is_said() -> None:
    plan, machine = Plan(runs=1, warmup=0), this_machine()
    first = _measured("first", [[0.01]])
    labels = _measured("labels", [[0.01]], output="labels", slides=True)
    notes = make_report([first, labels], plan, machine).notes
    assert any("some engines give labels" in note for note in notes)
    assert any("one run is one window" in note for note in notes)
    busy = make_report([first], plan, replace(machine, load=1.0 * machine.cores))
    assert any("busy with other work" in note for note in busy.notes)


def test_percentile_is_numpys() -> None:
    values = np.random.default_rng(0).random(37).tolist()
    for share in (0.0, 0.5, 0.95, 1.0):
        assert percentile(values, share) == pytest.approx(np.percentile(values, 100 * share))


def test_the_figure_says_its_numbers_in_characters_too() -> None:
    figure = bars([Bar("fast.onnx on x", 10, 12), Bar("a_rather_long_name_of_a_file" * 3 + " on y", 40, 40)])
    _, fast, slow = figure.text.splitlines()
    assert fast.startswith("fast.onnx on x  ")
    assert fast.endswith(" 10")
    assert slow.endswith(" 40")
    assert " on y" in slow
    assert slow.count("\u2588") == pytest.approx(4 * fast.count("\u2588"), abs=2)
    assert figure.draw().startswith(b"\x89PNG")
    assert "the fastest is fast.onnx on x" in figure.description


def test_a_report_is_a_page(toys: Toys) -> None:
    assert "Latency of one run" in as_page(benchmark(toys.make("a")))
