"""The commands that measure every family, and the pages that they write."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from segplug_mmseg.compat import import_mmseg

from matrix import __main__ as command
from matrix import engines as engine_command
from matrix.command import Measurement, choose_families
from matrix.document import render as render_source
from matrix.engine_measure import versions as engine_versions
from matrix.engine_rows import PRECISIONS, EngineRow
from matrix.engine_rows import render as render_engines
from matrix.families import FAMILIES, Case
from matrix.measure import measure_form
from matrix.rows import FORM, MODES, Row, add_rows, read_rows
from matrix.sources import SOURCES
from segplug import ModelMeta, SegmentationModel, Segplug

ROOT = Path(__file__).resolve().parents[1]
EXPORTS = command.exports("mmseg0")
render = partial(render_source, SOURCES["mmseg0"])


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
        versions=SOURCES["mmseg0"].versions(),
    )
    return replace(good, **changes)


def write_rows(data: Path, rows: list[Row]) -> str:
    add_rows(data, rows, Row, render)
    return data.with_suffix(".md").read_text()


def fail_to_measure(_: object, family: str, *__: object) -> list[Row]:
    raise AssertionError(f"{family} is measured, but is up to date")


def test_every_family_that_mmseg_carries_has_a_config():
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    carried = {folder.name for folder in configs.iterdir() if any(folder.glob("*.py"))} - {"_base_"}
    assert set(FAMILIES) == carried
    for family, case in FAMILIES.items():
        assert (configs / family / case.config).is_file()


@pytest.mark.parametrize("name", SOURCES)
def test_the_page_in_the_docs_is_generated_from_its_rows(name):
    page = ROOT / "docs" / f"{SOURCES[name].page}.md"
    rows = read_rows(page.with_suffix(".json"), Row)
    assert page.read_text() == render_source(SOURCES[name], rows)


def test_a_source_that_is_not_installed_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--source", "mmseg1"])
    assert end.value.code == 2
    assert "mmsegmentation 0.30.0 is installed: run it in an environment with" in capsys.readouterr().err


def test_the_page_of_1x_has_forms_remarks_and_what_is_left_out():
    source = SOURCES["mmseg1"]
    case = replace(source.families["twins"], note="PCPVT")
    shown = replace(source, families={"fcn": source.families["fcn"], "twins": case})
    measured = {"passed": True, "relative_difference": 2.1e-6, "exported_for": "", "megabytes": None}
    form = row("fcn", FORM, **measured, compared_at=("sample 1x128x192",))
    page = render_source(shown, {form.key: form})
    assert "`python -m matrix --source mmseg1` measures" in page
    assert "form 1 of 2, static 0 of 2" in page
    line = next(line for line in page.splitlines() if line.startswith("| fcn"))
    assert line.split(" | ")[2:4] == ["2e-06", "not measured"]
    assert "## Remarks\n\n* **twins**: PCPVT\n" in page
    assert "* **vpd**: a depth estimator" in page


NOT_YET: dict[str, set[str]] = {"mmseg0": set(), "mmseg1": set(), "transformers": set()}
"""Families that the page says are not measured yet in every part."""


@pytest.mark.parametrize("name", SOURCES)
def test_the_docs_show_that_every_family_passes_in_every_part(name):
    source = SOURCES[name]
    rows = read_rows(ROOT / "docs" / f"{source.page}.json", Row)
    missing = {(family, part) for family in source.families for part in source.parts} - set(rows)
    assert {family for family, _ in missing} <= NOT_YET[name]
    assert [key for key, one in rows.items() if not one.passed] == []
    assert {one.config for one in rows.values()} == {case.config for case in source.families.values()}


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
    data = tmp_path / "m.json"
    failed = {"passed": False, "reason": "it was stopped"}
    write_rows(data, [row("ann", mode, **failed, takes="", compared_at=()) for mode in MODES])
    write_rows(data, [row("unet", "static", unstable=1e-4), row("unet", "dynamic")])
    page = write_rows(data, [row("unet", "slide", passed=False, reason="labels differ")])
    assert "static 1 of 45, dynamic 1 of 45, slide 0 of 45" in page
    assert "Not measured yet: apcnet," in page
    assert "* **ann**, dynamic: it was stopped" in page
    line = next(line for line in page.splitlines() if line.startswith("| unet"))
    assert "multiples of 16" in line
    assert "1x128x192, 2x128x192 |" in line
    assert "0.0100% left out" in line
    assert "**fails**" in line
    assert "* **unet**, slide: labels differ" in page


def test_rows_that_are_up_to_date_are_not_measured_again(tmp_path, monkeypatch, capsys):
    data = tmp_path / "m.json"
    write_rows(data, [row("unet", mode) for mode in MODES])
    monkeypatch.setattr(Measurement, "rows_of", fail_to_measure)
    assert command.main(["--family", "unet", "--data", str(data)]) == 0
    assert "up to date" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        command.main(["--family", "unet", "--data", str(data), "--again"])


@pytest.mark.parametrize(
    "stale", [{"versions": {"torch": "1.0"}}, {"config": "another.py"}, {"passed": False, "reason": "no"}]
)
def test_outdated_rows_are_measured_again_and_other_families_kept(tmp_path, monkeypatch, stale):
    data = tmp_path / "m.json"
    write_rows(data, [row("unet", mode, **(stale if mode == "slide" else {})) for mode in MODES])
    write_rows(data, [row("cgnet", mode) for mode in MODES])
    fresh = [row("unet", mode, seconds=1.0) for mode in MODES]
    monkeypatch.setattr(Measurement, "rows_of", lambda *_: fresh)
    assert command.main(["--family", "unet", "cgnet", "--data", str(data)]) == 0
    rows = read_rows(data, Row)
    assert rows["unet", "static"].seconds == 1.0
    assert len(rows) == 6


def test_a_process_that_fails_or_takes_too_long_gives_failed_rows(monkeypatch):
    monkeypatch.setattr("sys.executable", "false")
    rows = list(EXPORTS.rows_of("unet", {}, 1.0))
    assert [one.mode for one in rows] == list(MODES)
    assert all(not one.passed and "ended with 1" in str(one.reason) for one in rows)
    monkeypatch.undo()
    rows = list(EXPORTS.rows_of("unet", {}, 0.001))
    assert [one.mode for one in rows] == list(MODES)
    assert all("took more than" in str(one.reason) for one in rows)


def test_a_failure_makes_the_command_fail(tmp_path, monkeypatch):
    bad = [row("unet", mode, passed=False, reason="no") for mode in MODES]
    monkeypatch.setattr(Measurement, "rows_of", lambda *_: bad)
    assert command.main(["--family", "unet", "--data", str(tmp_path / "m.json")]) == 1


def form_row(original: torch.nn.Module, form: torch.nn.Module) -> Row:
    """What is measured of a network and its form."""
    meta = ModelMeta("m", out_channels=3)
    model = SegmentationModel(module=original, meta=meta, exportable=lambda: form)
    blank = row("unet", FORM, passed=False, relative_difference=None)
    return measure_form(Segplug(), model, Case("x.py", size=(8, 12)), blank, Path())


class Scaled(torch.nn.Module):
    """Takes one size, if it is given."""

    def __init__(self, factor: float, only: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.factor, self.only = factor, only

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.only not in (None, images.shape[2:]):
            raise ValueError(self.only)
        return images * self.factor


def test_a_form_is_compared_with_the_original_at_two_sizes():
    measured = form_row(Scaled(1.0), Scaled(1 + 3e-6))
    assert measured.passed
    assert measured.compared_at == ("sample 1x8x12", "sample 1x13x18")
    assert measured.relative_difference == pytest.approx(3e-6, rel=0.1)
    assert form_row(Scaled(1.0, only=(8, 12)), Scaled(1.0)).compared_at == ("sample 1x8x12",)


def test_a_form_that_differs_or_of_which_nothing_is_known_fails():
    measured = form_row(Scaled(1.0), Scaled(1 + 5e-5))
    assert (measured.passed, measured.reason) == (False, "it differs by 5.0e-05, more than 1e-05")
    assert (
        form_row(Scaled(0.0), Scaled(0.0)).reason == "all its logits are alike, so that nothing is compared"
    )
    assert not form_row(Scaled(1.0), Scaled(float("nan"))).passed


@pytest.mark.slow
def test_one_family_is_really_measured(tmp_path, capsys):
    data = tmp_path / "m.json"
    assert command.main(["--family", "bisenetv2", "--data", str(data)]) == 0, capsys.readouterr().out
    rows = json.loads(data.read_text())
    assert [one["mode"] for one in rows] == list(MODES)
    for one in rows:
        assert one["passed"]
        assert one["relative_difference"] < 1e-4
    assert len(rows[1]["compared_at"]) >= 4
    assert "bisenetv2" in data.with_suffix(".md").read_text()


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
    rows = read_rows(ROOT / "docs" / "tensorrt-engines.json", EngineRow)
    assert (ROOT / "docs" / "tensorrt-engines.md").read_text() == render_engines(rows)


def test_the_docs_show_that_every_family_is_built():
    rows = read_rows(ROOT / "docs" / "tensorrt-engines.json", EngineRow)
    assert set(rows) == {(family, precision) for family in FAMILIES for precision in PRECISIONS}
    assert [key for key, one in rows.items() if not one.passed] == []
    assert {one.config for one in rows.values()} == {case.config for case in FAMILIES.values()}


def test_engines_that_are_up_to_date_are_not_built_again_and_failures_are_shown(
    tmp_path, monkeypatch, capsys
):
    data = tmp_path / "e.json"
    bad = engine("unet", "fp16", passed=False, reason="no kernel", seconds=None, megabytes=None)
    monkeypatch.setattr(Measurement, "rows_of", lambda *_: [engine("unet", "fp32"), bad])
    assert engine_command.main(["--family", "unet", "--data", str(data)]) == 1
    page = data.with_suffix(".md").read_text()
    assert "fp32 1 of 45, fp16 0 of 45" in page
    assert "| 1x3x128x192 to 2x3x256x384 | 1.3 | 10.0 | **fails** |" in page
    assert "* **unet**, fp16: no kernel" in page
    monkeypatch.setattr(Measurement, "rows_of", lambda *_: [engine("unet", "fp16")])
    assert engine_command.main(["--family", "unet", "--data", str(data)]) == 0
    monkeypatch.setattr(Measurement, "rows_of", fail_to_measure)
    capsys.readouterr()
    assert engine_command.main(["--family", "unet", "--data", str(data)]) == 0
    assert "up to date" in capsys.readouterr().out


@pytest.mark.slow
def test_the_engines_of_one_family_are_really_built(tmp_path, capsys):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    data = tmp_path / "e.json"
    assert engine_command.main(["--family", "erfnet", "--data", str(data)]) == 0, capsys.readouterr().out
    rows = json.loads(data.read_text())
    assert [one["precision"] for one in rows] == list(PRECISIONS)
    assert rows[1]["megabytes"] < 0.8 * rows[0]["megabytes"]
