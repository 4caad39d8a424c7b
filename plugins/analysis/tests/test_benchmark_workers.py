"""The processes of ``analyze benchmark``: what they are given, their environment, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from analysis_support.benchmark_toys import Toys, benchmark, install_toys

from segplug.errors import UsageError
from segplug.testing.fixtures import Install


@pytest.fixture
def toys(install_plugin: Install, tmp_path: Path) -> Toys:
    return install_toys(install_plugin, tmp_path)


def _weights(folder: Path) -> str:
    path = folder / "w.pth"
    path.touch()
    return str(path)


def test_what_was_asked_of_a_config_reaches_its_source(toys: Toys) -> None:
    config, weights = toys.make("net", ".toyconfig"), _weights(toys.folder)

    report = benchmark(
        config,
        backend=("toy-model",),
        source="twin",
        checkpoint=(weights,),
        cfg_options={"model.depth": "18"},
        source_options={"wish": "more colours"},
        device="tpu:7",
        trust_checkpoint=True,
    )

    (loaded,) = toys.log("loaded")
    (opened,) = toys.log("opened")
    assert loaded["pid"] == opened["pid"] != os.getpid()
    assert {key: value for key, value in loaded.items() if key not in ("event", "name", "pid")} == {
        "source": "twin",
        "wish": "more colours",
        "config": config,
        "checkpoint": weights,
        "cfg_options": {"model.depth": "18"},
        "device": "cpu",  # the backend puts the network on its own device
        "trust_checkpoint": True,
    }
    (asked,) = toys.log("asked")
    assert asked["device"] == "tpu:7"
    assert report.data["candidates"][0]["checkpoint"] == weights


def test_each_config_has_its_own_weights_and_an_artifact_none(toys: Toys) -> None:
    first, second = toys.make("first", ".toyconfig"), toys.make("second", ".toyconfig")
    weights = _weights(toys.folder)
    other = Path(weights).rename(toys.folder / "other.pth")
    _weights(toys.folder)

    benchmark(
        *(first, toys.make("between"), second),
        backend=("toy", "toy-model"),
        source="toy",
        checkpoint=(weights, str(other)),
    )

    assert [(entry["name"], entry["checkpoint"]) for entry in toys.log("loaded")] == [
        ("first", weights),
        ("second", str(other)),
    ]
    assert [entry["trust_checkpoint"] for entry in toys.log("loaded")] == [False, False]


def test_a_home_folder_may_be_spelled_with_a_tilde(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(toys.folder))
    toys.make("a")
    toys.make("net", ".toyconfig")
    weights = _weights(toys.folder)

    report = benchmark(
        *("~/a.toy", "~/net.toyconfig"),
        backend=("toy", "toy-model"),
        source="toy",
        checkpoint=("~/w.pth",),
    )

    artifact, config = report.data["candidates"]
    assert artifact["subject_bytes"] > 0
    assert (artifact["name"], config["name"]) == ("a.toy on toy", "net.toyconfig on toy-model")
    assert toys.log("loaded")[0]["checkpoint"] == weights


def test_weights_among_the_subjects_get_a_hint(toys: Toys) -> None:
    config, weights = toys.make("net", ".toyconfig"), _weights(toys.folder)
    with pytest.raises(UsageError, match=r"opens .*w\.pth.*the weights of a config.*--checkpoint"):
        benchmark(config, weights)
    with pytest.raises(UsageError, match=r"none of the backends.*the weights of a config.*--checkpoint"):
        benchmark(config, weights, backend=("toy-model",), source="toy")
    with pytest.raises(UsageError, match=r"opens .*w\.pth, by its name$"):
        benchmark(weights)


def test_no_subject_is_an_error(toys: Toys) -> None:
    with pytest.raises(UsageError, match="takes one or more configs and artifacts"):
        benchmark()


def test_a_process_has_a_session_of_its_own(toys: Toys) -> None:
    benchmark(toys.make("a"))
    (opened,) = toys.log("opened")
    assert opened["session"] == opened["pid"]  # so Ctrl-C in a terminal reaches only the parent


@pytest.mark.parametrize(("own", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_do_not_spin_unless_the_user_sets_the_policy(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, own: str | None, policy: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if own:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)

    report = benchmark(toys.make("a"))

    assert toys.log("opened")[0]["policy"] == report.data["settings"]["omp_wait_policy"] == policy


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older Pythons search the current folder first")
def test_a_module_in_the_current_folder_does_not_replace_a_library(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    here.joinpath("numpy.py").write_text("raise RuntimeError('this is no numpy')")
    monkeypatch.chdir(here)
    benchmark(toys.make("a"), runs=2)
    assert len(toys.log("run")) == 1 + 2 * 2  # the first run, and two rounds of an untimed and a timed run


def test_engines_with_a_free_batch_use_the_first_fixed_one(toys: Toys) -> None:
    free, four, two = toys.make("free"), toys.make("four", batch=4), toys.make("two", batch=2)

    def batches(*subjects: str, **options: Any) -> list[int]:
        return [one["input_shape"][0] for one in benchmark(*subjects, runs=1, **options).data["candidates"]]

    assert batches(free, four) == [4, 4]
    assert batches(free, two, four) == [2, 2, 4]
    assert batches(free) == [1]
    assert batches(free, batch=3) == [3]
    assert {entry["shape"][0] for entry in toys.log("run") if entry["name"] == "four"} == {4}


def test_without_cuda_no_cuda_memory_is_reported(toys: Toys) -> None:
    report = benchmark(toys.make("a"))
    (candidate,) = report.data["candidates"]
    assert candidate["peak_memory_mb"] > 0
    assert candidate["peak_cuda_memory_mb"] is None
    (memory,) = [table for table in report.tables if table.title == "Start and memory"]
    assert memory.columns == ("engine", "start-up s", "opening s", "first run ms", "peak MB")


def _started(toys: Toys, *options: str, does: str, runs: int = 1) -> subprocess.Popen[bytes]:
    """Start the command, and return when its engine, in a second process, has started ``runs`` runs."""
    subject = toys.make("slow", does=does)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "segplug", "run", "analyze", "benchmark", subject, *options]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 30
    while len(toys.log("run")) < runs:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    assert {entry["pid"] for entry in toys.log("opened")} == {toys.log("run")[-1]["pid"]}
    assert not toys.are_gone(within=0), "the engine's process runs until the test ends it"
    return process


def test_an_interruption_leaves_no_process(toys: Toys) -> None:
    process = _started(toys, does="hangs")
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C in a terminal reaches the whole process group
    _, shown = process.communicate(timeout=20)
    assert process.returncode == 130
    # A slow machine has said before that it opens the engine.
    assert shown.decode().splitlines()[-1] == "error: interrupted"
    assert toys.are_gone()


@pytest.mark.parametrize("options", [("--warmup", "0", "--runs", "2000"), ("--warmup", "200")])
def test_a_process_ends_by_itself_when_its_parent_is_killed(toys: Toys, options: tuple[str, ...]) -> None:
    process = _started(
        toys, *options, does="naps", runs=4
    )  # the engine is in a block that takes 20 seconds or more
    process.kill()
    process.communicate()
    assert toys.are_gone()
    assert toys.log("closed")
