"""The comparison of the logits of both generations of mmsegmentation."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from matrix import generation_measure, generations
from matrix.families import FAMILIES
from matrix.generation_measure import SideError, trained_cases, versions
from matrix.generation_rows import CHANGES, FILE, PART, GenerationRow, render
from matrix.generation_sides import CHECKPOINT, STORED, compare, store
from matrix.rows import read_rows

ROOT = Path(__file__).resolve().parents[1]
OLD, NEW = (ROOT / name / "bin" / "python" for name in (".venv", ".venv-mmseg1"))
SMALL = "erfnet/erfnet_fcn_4x4_512x1024_160k_cityscapes.py"
VERSIONS = {"torch": "2.13.0"}
FOUND = {"equal": False, "difference": 2.5e-6, "largest_logit": 1.25}


def answer(interpreter: str, command: str, *_: str) -> dict[str, object]:
    """What the two environments print, without them."""
    stored = {"config": "/somewhere/x.py", "parameters": 2_060_000, "compared_at": "1x128x192"}
    return {"versions": VERSIONS, "old": stored, "new": dict(FOUND)}[command]


def test_the_page_in_the_docs_is_generated_from_its_rows():
    for name, text in generations.pages(ROOT / "docs").items():
        assert (ROOT / "docs" / name).read_text() == text


def test_the_docs_show_that_every_family_gives_the_logits_of_0_30():
    rows = read_rows(ROOT / "docs" / "mmseg-generations.json", GenerationRow)
    assert set(FAMILIES) < {row.family for row in rows.values()}
    assert [row.family for row in rows.values() if not row.passed] == []
    assert [row.family for row in rows.values() if not row.equal] == list(CHANGES)


def test_logits_that_differ_fail_unless_the_change_is_known(monkeypatch):
    monkeypatch.setattr(generation_measure, "side", answer)
    row = generation_measure.compare("erfnet", "old", "new", None)
    assert (row.passed, row.reason) == (False, "the logits differ by 2.5e-06")
    assert "| **fails** |" in render({row.key: row})
    monkeypatch.setitem(CHANGES, "erfnet", "another upsampling")
    row = generation_measure.compare("erfnet", "old", "new", None)
    page = render({row.key: row})
    assert "logits 1 of 45" in page
    assert "| `erfnet_fcn_4x4_512x1024_160k_cityscapes` | 2.1 M | 1x128x192 | 1.25 | 3e-06 |" in page
    assert "* **erfnet**: another upsampling.\n" in page.split("## What 1.x computes otherwise")[1]
    monkeypatch.setitem(FOUND, "difference", 2.5e-3)
    assert not generation_measure.compare("erfnet", "old", "new", None).passed
    equal = replace(row, equal=True, difference=0.0)
    assert "| 1.25 | none |" in render({row.key: equal})


def test_an_error_of_one_side_is_the_reason_of_the_row(monkeypatch):
    def fail(interpreter: str, command: str, *_: str) -> dict[str, object]:
        if command == "new":
            raise SideError("new: no such class")
        return answer(interpreter, command)

    monkeypatch.setattr(generation_measure, "side", fail)
    row = generation_measure.compare("erfnet", "old", "new", None)
    assert (row.passed, row.reason) == (False, "new: no such class")
    with pytest.raises(SideError, match=r"^versions: .*No module named 'matrix'"):
        monkeypatch.undo()
        monkeypatch.setattr(generation_measure, "ROOT", Path("/"))  # has no package of that name
        generation_measure.side("python3", "versions")


def test_environments_with_another_pytorch_are_refused(monkeypatch):
    monkeypatch.setattr(generation_measure, "side", lambda python, _: {"torch": python})
    with pytest.raises(SystemExit, match=r"PyTorch 2\.12 and 2\.13: install the same in both"):
        versions("2.12", "2.13")
    assert versions("2.13", "2.13") == {"torch (0.x)": "2.13", "torch (1.x)": "2.13"}


def test_trained_networks_are_configs_with_a_checkpoint_beside_them(tmp_path):
    for name in ("a.py", "a.pth", "slides.py"):
        (tmp_path / name).touch()
    cases = trained_cases(tmp_path)
    assert {name: case.config for name, case in cases.items()} == {"a (trained)": "a.py"}
    row = GenerationRow("a (trained)", "a.py", PART, passed=True, equal=True, difference=0.0)
    assert "| a (trained) | `a` |" in render({row.key: row})


@pytest.mark.parametrize("option", ["--old", "--new", "--trained"])
def test_a_path_that_is_not_there_is_refused(option, capsys):
    with pytest.raises(SystemExit) as end:
        generations.main([option, "/nowhere/python"])
    assert end.value.code == 2
    assert "/nowhere/python" in capsys.readouterr().err


def test_one_changed_bit_is_found(tmp_path):
    stored = store(SMALL, "64x96", str(tmp_path))
    assert stored["compared_at"] == "1x64x96"
    found = compare(stored["config"], str(tmp_path))
    assert found["equal"] is True
    assert found["difference"] == 0
    kept = torch.load(tmp_path / STORED)
    logits = kept["logits"].flatten()
    logits[7] = torch.nextafter(logits[7], torch.tensor(torch.inf))
    torch.save(kept, tmp_path / STORED)
    found = compare(stored["config"], str(tmp_path))
    assert found["equal"] is False
    assert 0 < found["difference"] < 1e-5
    (tmp_path / CHECKPOINT).unlink()


@pytest.mark.slow
def test_two_environments_give_the_same_logits(tmp_path, capsys):
    for python in (OLD, NEW):
        if not python.is_file():
            pytest.skip(f"there is no {python.relative_to(ROOT)}")
    arguments = [
        "--old",
        str(OLD),
        "--new",
        str(NEW),
        "--family",
        "erfnet",
        "fastscnn",
        "--docs",
        str(tmp_path),
    ]
    assert generations.main(arguments) == 0, capsys.readouterr().out
    rows = read_rows(tmp_path / FILE, GenerationRow)
    assert set(rows) == {("erfnet", PART), ("fastscnn", PART)}
    for row in rows.values():
        assert row.config == FAMILIES[row.family].config
        assert row.equal, asdict(row)
        assert row.versions["mmsegmentation (0.x)"] < "1" <= row.versions["mmsegmentation (1.x)"]
