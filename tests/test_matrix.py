"""The commands that measure every family, and the pages that they write."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from segplug_mmseg.compat import import_mmseg
from serve_support.browser import Tab, chromium

from matrix import __main__ as command
from matrix import engines as engine_command
from matrix.command import Measurement, choose_families
from matrix.document import read, render, render_markdown, rows_file
from matrix.engine_measure import versions as engine_versions
from matrix.engine_rows import FILE as ENGINES_FILE
from matrix.engine_rows import PRECISIONS, EngineRow
from matrix.families import FAMILIES
from matrix.rows import FORM, MODES, Row, add_rows, read_rows
from matrix.sources import SOURCES
from matrix.words import share_at_least, share_at_most

ROOT = Path(__file__).resolve().parents[1]
EXPORTS = command.exports("mmseg0")
DOCS = ROOT / "docs"


def row(family: str, mode: str, **changes: object) -> Row:
    good = Row(
        family,
        FAMILIES[family].config,
        mode,
        passed=True,
        exported_for="128x192",
        takes="batch 1.., height 16.. in steps of 16, width 16.. in steps of 16",
        compared_at=("sample 1x128x192", "sample 2x128x192 [0]", "sample 2x128x192 [1]"),
        relative_difference=2.5e-6,
        label_agreement=0.99999,
        firm_agreement=1.0,
        megabytes=12.34,
        seconds=8.6,
        versions=SOURCES["mmseg0"].versions(mode),
    )
    return replace(good, **changes)


def write_rows(docs: Path, rows: list[Row], source: str = "mmseg0") -> str:
    """Add rows to a folder of documents; returns the page in Markdown."""
    add_rows(docs / rows_file(source), rows, Row)
    return render_markdown(*read(docs))


def line_of(page: str, family: str) -> list[str]:
    """The cells of a family."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {family} "))
    return [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]


def fail_to_measure(_: object, family: str, *__: object) -> list[Row]:
    raise AssertionError(f"{family} is measured, but is up to date")


def test_every_family_that_mmseg_carries_has_a_config():
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    carried = {folder.name for folder in configs.iterdir() if any(folder.glob("*.py"))} - {"_base_"}
    assert set(FAMILIES) == carried
    for family, case in FAMILIES.items():
        assert (configs / family / case.config).is_file()


def test_the_pages_in_the_docs_are_generated_from_the_rows():
    for name, text in render(DOCS).items():
        # The foot has the date.
        assert (DOCS / name).read_text().split("<footer>")[0] == text.split("<footer>")[0], name


def test_a_source_that_is_not_installed_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--source", "mmseg1"])
    assert end.value.code == 2
    assert "mmsegmentation 0.30.0 is installed: run it in an environment with" in capsys.readouterr().err


def test_the_page_has_forms_formats_remarks_and_what_is_left_out(tmp_path):
    measured = {"relative_difference": 2.1e-6, "exported_for": "", "megabytes": None, "seconds": None}
    page = write_rows(tmp_path, [row("fcn", FORM, **measured)], "mmseg1")
    page = write_rows(tmp_path, [row("fcn", "torchscript", clock="processor")], "mmseg1")
    assert "`python -m matrix --source mmseg1` measures it." in page
    counts = ["1 of 51", "0 of 51", "0 of 51", "0 of 51", "1 of 51", "0 of 51", ""]
    assert line_of(page, "[mmseg 1.x](#mmseg-1x)")[1:] == ["51", *counts]
    cells = line_of(page.split("## mmseg 1.x")[1], "fcn")
    assert cells[2:4] == ["2e-06", "not measured"]
    assert cells[-4:] == ["3e-06", "9", "not measured", ""]
    assert "* **mask2former**: " in page
    assert "* **vpd** is not measured: a depth estimator" in page
    assert "* **mmseg 1.x**, torchscript: " in page
    assert "; processor time" in page


@pytest.mark.parametrize("name", SOURCES)
def test_the_docs_show_that_every_family_passes_in_every_part(name):
    source = SOURCES[name]
    rows = read_rows(DOCS / rows_file(name), Row)
    assert set(rows) == {(family, part) for family in source.families for part in source.parts}
    assert [key for key, one in rows.items() if not one.passed] == []
    assert {key: one.config for key, one in rows.items()} == {
        key: source.families[key[0]].config for key in rows
    }


def test_shards_hold_each_family_once():
    shards = [choose_families(FAMILIES, (part, 4)) for part in (1, 2, 3, 4)]
    assert sorted(family for shard in shards for family in shard) == sorted(FAMILIES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0/2", "no part 0 of 2"),
        ("3/2", "no part 3 of 2"),
        ("1", "'1' is not I/N"),
        ("a/b", "'a/b' is not I/N"),
    ],
)
def test_wrong_shards_are_refused(text, words, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--shard", text])
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_a_page_shows_passes_sizes_failures_and_missing_rows(tmp_path):
    failed = {"passed": False, "reason": "it was stopped"}
    write_rows(tmp_path, [row("ann", mode, **failed, takes="", compared_at=()) for mode in MODES])
    write_rows(tmp_path, [row("unet", "static", unstable=1e-4), row("unet", "dynamic", label_agreement=1.0)])
    page = write_rows(tmp_path, [row("unet", "slide", passed=False, reason="labels differ")])
    assert "| 45 |  | 1 of 45 | 1 of 45 | 0 of 45 | 0 of 45 | 0 of 45 | 0 of 45 |" in page
    assert line_of(page, "apcnet")[2] == "not measured"
    assert "* mmseg 0.x: **ann**, dynamic: it was stopped" in page
    cells = line_of(page, "unet")
    assert "from 16, multiples of 16" in cells
    assert "1x128x192, 2x128x192" in cells
    assert "99.9990%, 0.0100% left out" in cells
    assert "**fails**" in cells
    assert "* mmseg 0.x: **unet**, slide: labels differ" in page


def test_the_table_with_a_filter_has_every_row_and_the_reasons(tmp_path):
    write_rows(
        tmp_path, [row("unet", "slide", passed=False, reason="labels <differ>"), row("unet", "static")]
    )
    write_rows(tmp_path, [row("unet", "torch-export", clock="processor", unstable=1e-9)])
    add_rows(tmp_path / ENGINES_FILE, [engine("unet", "fp16")], EngineRow)
    lines = render(tmp_path)["support-matrix.html"].split("<tr>")[2:]
    parts = sum(
        len(source.families) * len(source.parts) + len(source.left_out) for source in SOURCES.values()
    )
    assert len(lines) == parts + len(FAMILIES) * len(PRECISIONS)
    cells = [[unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)] for line in lines]
    of_unet = [line for line in cells if line[:2] == ["unet", "mmseg 0.x"]]
    assert [line[2:5] for line in of_unet] == [
        ["ONNX", "static", "passed"],
        ["ONNX", "dynamic", "not measured"],
        ["ONNX", "slide", "failed"],
        ["TorchScript", "static", "not measured"],
        ["torch.export", "static", "passed"],
        ["TensorRT-RTX fp32", "dynamic", "not measured"],
        ["TensorRT-RTX fp16", "dynamic", "built, not run"],
    ]
    assert of_unet[4][5:11] == ["2.5e-06", "99.9990%", "8.600", "12.34", "processor", "0.0001%"]
    assert of_unet[2][-1] == "labels <differ>"
    (vpd,) = (line for line in cells if line[0] == "vpd")
    assert (vpd[4], vpd[-1].partition(",")[0]) == ("left out", "a depth estimator")


@pytest.mark.slow
def test_the_page_in_the_docs_is_filtered_by_its_address():
    with chromium() as browser:
        tab = Tab(browser, (DOCS / "support-matrix.html").as_uri() + "#source=mmseg+1.x&input=slide")
        families = len(SOURCES["mmseg1"].families)
        assert tab.page.locator("tbody tr:visible").count() == families
        assert tab.texts("output")[0].startswith(f"{families} of ")
        assert tab.complaints == []
        assert len(tab.asked) == 1


@pytest.mark.parametrize(
    ("share", "least", "most"),
    [
        (1, "100%", "100.0000%"),
        (0.99999999, "99.9999%", "100.0000%"),
        (1e-9, "0.0000%", "0.0001%"),
        (0, "0.0000%", "0%"),
    ],
)
def test_only_what_is_whole_is_all_and_only_nothing_is_none(share, least, most):
    assert (share_at_least(share), share_at_most(share)) == (least, most)


def test_rows_that_are_up_to_date_are_not_measured_again(tmp_path, monkeypatch, capsys):
    write_rows(tmp_path, [row("unet", part) for part in EXPORTS.parts])
    monkeypatch.setattr(Measurement, "rows_of", fail_to_measure)
    assert command.main(["--family", "unet", "--docs", str(tmp_path)]) == 0
    assert "up to date" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        command.main(["--family", "unet", "--docs", str(tmp_path), "--again"])


def test_only_the_parts_that_are_named_and_due_are_measured(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Measurement, "rows_of", lambda _, family, parts, __: asked.append((family, *parts)) or []
    )
    write_rows(tmp_path, [row("unet", "static"), row("unet", "torchscript", passed=False, reason="no")])
    assert command.main(["--family", "unet", "--docs", str(tmp_path)]) == 1
    assert command.main(["--family", "unet", "--docs", str(tmp_path), "--part", "slide", "static"]) == 0
    assert asked == [("unet", "dynamic", "slide", "torchscript", "torch-export"), ("unet", "slide")]


def test_pages_are_written_without_measuring(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Measurement, "rows_of", fail_to_measure)
    add_rows(tmp_path / rows_file("transformers"), [row("unet", "static")], Row)
    assert command.main(["--source", "mmseg1", "--docs", str(tmp_path), "--page"]) == 0
    pages = [tmp_path / "support-matrix.md", tmp_path / "support-matrix.html"]
    assert capsys.readouterr().out.split() == list(map(str, pages))
    assert pages[1].read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "stale", [{"versions": {"torch": "1.0"}}, {"config": "another.py"}, {"passed": False, "reason": "no"}]
)
def test_outdated_rows_are_measured_again_and_other_families_kept(tmp_path, monkeypatch, stale):
    write_rows(tmp_path, [row("unet", part, **(stale if part == "slide" else {})) for part in EXPORTS.parts])
    write_rows(tmp_path, [row("cgnet", part) for part in EXPORTS.parts])

    def measured(_: object, family: str, parts: list[str], __: object) -> list[Row]:
        return [row(family, part, seconds=1.0) for part in parts]

    monkeypatch.setattr(Measurement, "rows_of", measured)
    assert command.main(["--family", "unet", "cgnet", "--docs", str(tmp_path)]) == 0
    rows = read_rows(tmp_path / rows_file("mmseg0"), Row)
    assert [key for key, one in rows.items() if one.seconds == 1.0] == [("unet", "slide")]
    assert len(rows) == 2 * len(EXPORTS.parts)


def test_a_process_that_fails_or_takes_too_long_gives_failed_rows(monkeypatch):
    monkeypatch.setattr("sys.executable", "false")
    rows = list(EXPORTS.rows_of("unet", MODES, 1.0))
    assert [one.mode for one in rows] == list(MODES)
    assert all(not one.passed and "ended with 1" in str(one.reason) for one in rows)
    monkeypatch.undo()
    rows = list(EXPORTS.rows_of("unet", MODES, 0.001))
    assert [one.mode for one in rows] == list(MODES)
    assert all("took more than" in str(one.reason) for one in rows)


def test_a_failure_makes_the_command_fail(tmp_path, monkeypatch):
    bad = [row("unet", mode, passed=False, reason="no") for mode in MODES]
    monkeypatch.setattr(Measurement, "rows_of", lambda *_: bad)
    assert command.main(["--family", "unet", "--docs", str(tmp_path)]) == 1


@pytest.mark.slow
def test_one_family_is_really_measured(tmp_path, capsys):
    assert command.main(["--family", "bisenetv2", "--docs", str(tmp_path)]) == 0, capsys.readouterr().out
    rows = json.loads((tmp_path / rows_file("mmseg0")).read_text())
    assert [one["mode"] for one in rows] == [*MODES, "torchscript", "torch-export"]
    for one in rows:
        assert one["passed"]
        assert one["relative_difference"] < 1e-4
    assert len(rows[1]["compared_at"]) >= 4
    assert line_of((tmp_path / "support-matrix.md").read_text(), "bisenetv2")[-5] == "0"


def engine(family: str, precision: str, **changes: object) -> EngineRow:
    good = EngineRow(
        family,
        FAMILIES[family].config,
        precision,
        passed=True,
        profile=("1x3x128x192", "2x3x256x384"),
        seconds=1.26,
        megabytes=10.04,
        versions=engine_versions(),
    )
    return replace(good, **changes)


def test_the_page_of_engines_is_generated_from_its_rows():
    assert (DOCS / "tensorrt-engines.md").read_text() == engine_command.pages(DOCS)["tensorrt-engines.md"]


def test_the_docs_show_that_every_family_is_built():
    rows = read_rows(DOCS / ENGINES_FILE, EngineRow)
    assert set(rows) == {(family, precision) for family in FAMILIES for precision in PRECISIONS}
    assert [key for key, one in rows.items() if not one.passed] == []
    assert {one.config for one in rows.values()} == {case.config for case in FAMILIES.values()}


def test_engines_that_are_up_to_date_are_not_built_again_and_failures_are_shown(
    tmp_path, monkeypatch, capsys
):
    call = ["--family", "unet", "--docs", str(tmp_path)]
    bad = engine("unet", "fp16", passed=False, reason="no kernel", seconds=None, megabytes=None)
    monkeypatch.setattr(Measurement, "rows_of", lambda *_: [engine("unet", "fp32"), bad])
    assert engine_command.main(call) == 1
    page = (tmp_path / "tensorrt-engines.md").read_text()
    assert "fp32 1 of 45, fp16 0 of 45" in page
    assert "| 1x3x128x192 to 2x3x256x384 | 1.3 | 10.0 | **fails** |" in page
    assert "* **unet**, fp16: no kernel" in page
    assert line_of((tmp_path / "support-matrix.md").read_text(), "unet")[-1] == "fp32, fp16 **fails**"
    monkeypatch.setattr(Measurement, "rows_of", lambda *_: [engine("unet", "fp16")])
    assert engine_command.main(call) == 0
    monkeypatch.setattr(Measurement, "rows_of", fail_to_measure)
    capsys.readouterr()
    assert engine_command.main(call) == 0
    assert "up to date" in capsys.readouterr().out


@pytest.mark.slow
def test_the_engines_of_one_family_are_really_built(tmp_path, capsys):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    assert engine_command.main(["--family", "erfnet", "--docs", str(tmp_path)]) == 0, capsys.readouterr().out
    rows = json.loads((tmp_path / ENGINES_FILE).read_text())
    assert [one["precision"] for one in rows] == list(PRECISIONS)
    assert rows[1]["megabytes"] < 0.8 * rows[0]["megabytes"]
