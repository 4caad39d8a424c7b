"""The report of ``analyze benchmark``: numbers, tables, notes, the figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis_support.benchmark_toys import Toys, benchmark, install_toys
from segplug_analysis.benchmark.candidates import Candidate
from segplug_analysis.benchmark.chart import Bar, bar_chart
from segplug_analysis.benchmark.measure import Measured, Plan
from segplug_analysis.benchmark.report import make_report
from segplug_analysis.benchmark.statistics import percentile, summarise
from segplug_analysis.machine import this_machine

from segplug.cli.output import Output
from segplug.reports.page import as_page
from segplug.results import AnalyzeReport, Screen, Table
from segplug.testing.fixtures import Install


def _measured(
    name: str,
    rounds: list[list[float]],
    *,
    backend: str = "x",
    threads: int | None = 1,
    device: str = "cpu",
    **engine: Any,
) -> Measured:
    candidate = Candidate(name, name, is_model=True, backend=backend, device=device, threads=threads)
    return Measured(
        candidate,
        {
            **{"engine": "x 1", "output": "logits", "slides": False, "open_seconds": 1.0},
            **{"torch_threads": 2, "views": 0, "approximations": [], **engine},
        },
        start_seconds=2.0,
        shape=(4, 3, 8, 8),
        first_run_seconds=0.25,
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
    (unsteady,) = [note for note in report.notes if "the machine's speed changed" in note]
    assert "first (233%), second (233%)" in unsteady
    steady = make_report([_measured("a", [[0.01]] * 4)], Plan(runs=4, warmup=0), this_machine())
    assert not any("speed changed" in note for note in steady.notes)


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


def test_the_figure_has_its_numbers_as_text_too() -> None:
    figure = bar_chart(
        [Bar("fast.onnx on x", 10, 12), Bar("a_rather_long_name_of_a_file" * 3 + " on y", 40, 40)]
    )
    lines = figure.text(Screen(140, colour=False)).splitlines()
    fast, slow = (line for line in lines if "\u2588" in line)
    assert fast.lstrip().startswith("fast.onnx on x")
    assert "10 " in fast
    assert "40 " in slow
    assert " on y" in slow
    assert slow.count("\u2588") == pytest.approx(4 * fast.count("\u2588"), abs=4)
    assert max(map(len, lines)) <= 140
    assert b">fast.onnx on x</text>" in figure.draw()
    assert "the fastest is fast.onnx on x" in figure.description


def _table(report: AnalyzeReport, title: str) -> Table:
    (table,) = [table for table in report.tables if table.title == title]
    return table


def _columns(table: Table) -> dict[str, list[Any]]:
    return {name: [row[place] for row in table.rows] for place, name in enumerate(table.columns)}


def test_the_tables_hold_the_numbers_in_the_units_of_their_headings() -> None:
    first = _measured("first", [[0.010, 0.010], [0.020, 0.020]])
    second = _measured("second", [[0.030, 0.030], [0.020, 0.020]])

    report = make_report([first, second], Plan(runs=4, warmup=0), this_machine())

    latency = _columns(_table(report, "Latency of one run"))
    assert latency["engine"] == ["first", "second"]
    assert latency["median ms"] == pytest.approx([15, 25])
    assert latency["p95 ms"] == pytest.approx([20, 30])
    assert latency["images/s"] == pytest.approx([4 * 4 / 0.06, 4 * 4 / 0.1])
    assert latency["x time of first"] == pytest.approx([1, 2])
    assert latency["lowest"] == pytest.approx([1, 1])
    assert latency["highest"] == pytest.approx([1, 3])
    spread = _columns(_table(report, "Spread of the times"))
    assert spread["mean ms"] == pytest.approx([15, 25])
    assert spread["stdev ms"] == pytest.approx([1000 * np.std([0.01, 0.01, 0.02, 0.02], ddof=1)] * 2)
    assert spread["rounds differ %"] == pytest.approx([100 * 10 / 15, 100 * 10 / 25])
    start = _columns(_table(report, "Start and memory"))
    assert (start["start-up s"], start["opening s"]) == ([2.0, 2.0], [1.0, 1.0])
    assert start["first run ms"] == pytest.approx([250, 250])
    assert start["peak MB"] == pytest.approx([1, 1])
    engines = _columns(_table(report, "Engines"))
    assert engines["input"] == ["4x3x8x8"] * 2
    assert engines["threads"] == ["1", "1"]
    alone = make_report([first], Plan(runs=4, warmup=0), this_machine())
    assert _table(alone, "Latency of one run").columns == ("engine", "median ms", "p95 ms", "images/s")


def test_the_tables_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_measured(name, [[0.01]]) for name in ("config.py on pytorch", "model.onnx on onnxruntime")]
    report = make_report(rows, Plan(runs=1, warmup=0), this_machine())
    output = Output(as_json=False)
    output.console.width = 80
    for table in report.tables:
        output.table(table)
        words = capsys.readouterr().out.split()
        whole = " ".join(("config.py on pytorch model.onnx on onnxruntime", *table.columns))
        assert not set(whole.split()) - set(words), table.title  # else a word is folded


def test_a_report_has_at_most_seven_notes() -> None:
    slow = [[0.01], [0.02]]
    first = _measured("first", slow, threads=None)
    second = _measured("second", slow, threads=None, torch_threads=None, output="labels", slides=True)
    machine = replace(this_machine(), load=99.0)

    notes = make_report([first, second], Plan(runs=2, warmup=0), machine).notes

    assert len(notes) <= 7
    assert any("2 timed runs of each engine in 2 rounds" in note for note in notes)
    (one,) = [note for note in make_report([first], Plan(1, 0), machine).notes if "timed run " in note]
    assert one.startswith("1 timed run of each engine, after")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"threads": 2}, {"threads": 2, "backend": "y"}, False),
        ({"torch_threads": 1}, {"torch_threads": 2}, True),
        ({"torch_threads": 1}, {"torch_threads": None, "backend": "y"}, True),
        ({"torch_threads": None}, {"torch_threads": None, "backend": "y"}, True),
        ({"torch_threads": None}, {"torch_threads": None}, False),
        ({"torch_threads": 2}, {"torch_threads": 2}, False),
        ({"torch_threads": 1, "device": "cuda:0"}, {"torch_threads": 2, "device": "cuda:0"}, False),
        ({"torch_threads": 1}, {"torch_threads": None, "device": "npu:0", "backend": "y"}, False),
    ],
)
def test_unequal_threads_are_told(first: dict[str, Any], second: dict[str, Any], told: bool) -> None:
    rows = [_measured("one", [[0.01]], **{"threads": None, **more}) for more in (first, second)]
    report = make_report(rows, Plan(runs=1, warmup=0), this_machine())
    assert sum("compare them with --threads N" in note for note in report.notes) == told


@pytest.fixture
def toys(install_plugin: Install, tmp_path: Path) -> Toys:
    return install_toys(install_plugin, tmp_path)


def test_a_report_is_a_page(toys: Toys) -> None:
    assert "Latency of one run" in as_page(benchmark(toys.make("a")))
