"""Run the helpers of the tests on a GPU with small data on the CPU, and check their table."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.demo import MODES, Demo, Mode, Precision, make_demo
from tests.gpu.measuring import Run, check, interleaved, of_onnxruntime, of_pytorch, score, time_all
from tests.gpu.report import Machine, Report, Row, as_markdown, write

CASES: tuple[tuple[Mode, Precision], ...] = (("whole", "fp32"), ("slide", "fp16"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return make_demo(tmp_path_factory.mktemp("small"), 2)


@pytest.fixture(scope="module")
def measured(small: Demo) -> Report:
    """Results of PyTorch and ONNX Runtime on the CPU, for each of ``CASES``."""
    report = Report(Machine("2026-01-31", "a CPU", "no driver"))
    for mode, precision in CASES:
        torch = of_pytorch(small, mode, precision, "cpu")
        onnx = of_onnxruntime(small, mode, precision, "cpu")
        assert check(small, onnx, report).passed
        assert score(small, onnx, report) == pytest.approx(score(small, torch, report), abs=0.001)
        time_all(small, [torch, onnx], report, warm_up=1, repeats=3)
    return report


@pytest.mark.slow
def test_every_row_is_complete(measured: Report) -> None:
    assert [(row.mode, row.precision, row.backend) for row in measured.rows] == [
        (mode, precision, backend) for mode, precision in CASES for backend in ("pytorch", "onnxruntime")
    ]
    for row in measured.rows:
        assert row.milliseconds
        assert row.miou is not None
        assert row.miou > 0.8
        is_file = row.backend == "onnxruntime"
        assert (row.difference is not None, row.megabytes is not None) == (is_file, is_file)


@pytest.mark.slow
def test_half_precision_is_half_precision(small: Demo, measured: Report) -> None:
    single, half = (small.onnx("slide", precision).stat().st_size for precision in ("fp32", "fp16"))
    assert half < 0.7 * single
    differences = {row.precision: row.difference for row in measured.rows if row.difference is not None}
    assert 0 < 10 * differences["fp32"] < differences["fp16"]


def test_a_scene_and_its_windows(small: Demo) -> None:
    assert {mode: small.batch(mode).shape for mode in MODES} == {
        "whole": (1, 3, 256, 512),
        "slide": (4, 3, 224, 320),
    }


def test_runs_take_turns_and_the_first_rounds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = [0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def runner(name: str, seconds: int) -> Run:
        def run(batch: np.ndarray) -> np.ndarray:
            order.append(name)
            clock[0] += 100 if len(order) <= 4 else seconds
            return batch

        return run

    batch = np.zeros((1, 3, 8, 8), np.float32)
    assert interleaved([runner("a", 1), runner("b", 5)], batch, warm_up=2, repeats=3) == [1, 5]
    assert "".join(order) == "ab" * 5


def test_the_table(tmp_path: Path) -> None:
    report = Report(Machine("2026-01-31", "GPU", "driver 1, CUDA 13.0"))
    torch = Row("PyTorch 2", "pytorch", "fp16", "whole")
    engine = Row("TensorRT 11", "tensorrt", "fp16", "whole", 12.34, 5.0)
    report.add(engine, milliseconds=2.0)
    report.add(engine, difference=0.00123, miou=0.87654)
    report.add(torch, milliseconds=5.0)
    report.note("noted twice")
    report.note("noted twice")
    lines = as_markdown(report).splitlines()
    assert lines[0] == "GPU, driver 1, CUDA 13.0, 2026-01-31."
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {10}
    assert rows[2] == ["PyTorch 2", "pytorch", "fp16", "whole", "-", "-", "-", "-", "5.00", "1.00"]
    assert rows[3][4:] == ["12.3", "5.00", "1.2e-03", "0.8765", "2.00", "2.50"]
    assert lines.count("* noted twice") == 1

    write(report, tmp_path / "new" / "table.md")
    assert (tmp_path / "new" / "table.md").read_text() == as_markdown(report)
    write(report, tmp_path / "table.json")
    data = json.loads((tmp_path / "table.json").read_text())
    assert data["machine"]["date"] == "2026-01-31"
    assert [(row["library"], row["speed"]) for row in data["rows"]] == [
        ("PyTorch 2", 1.0),
        ("TensorRT 11", 2.5),
    ]


def test_a_table_without_a_machine() -> None:
    assert as_markdown(Report()).startswith("| library")
