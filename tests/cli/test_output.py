"""Tables and notes for people, on narrow terminals, on wide ones, and in a pipe."""

from __future__ import annotations

import pytest

from segplug.cli.output import ConsoleReporter, Output
from segplug.results import Table

WIDE = Table(
    "latency",
    ("engine", *(f"some number {index}" for index in range(8))),
    (("a.onnx on onnxruntime", *(1000.25 + index for index in range(8))), ("b", *(8 * [None]))),
)


def printed(table: Table, width: int, capsys: pytest.CaptureFixture[str]) -> str:
    output = Output(as_json=False)
    output.console.width = width
    output.table(table)
    return capsys.readouterr().out


def test_a_table_that_is_too_wide_is_turned_on_its_side(capsys) -> None:
    text = printed(WIDE, 80, capsys)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for index in range(8):
        (line,) = [line for line in lines if f"some number {index}" in line]
        assert f"{1000.25 + index:,.2f}" in line


def test_a_table_that_fits_is_as_it_was_given(capsys) -> None:
    lines = printed(WIDE, 200, capsys).splitlines()
    (row,) = [line for line in lines if "a.onnx" in line]
    assert row.count("│") == 10


def test_texts_are_broken_before_numbers(capsys) -> None:
    table = Table("", ("text", "number"), (("word " * 30, 123456789.25),))
    text = printed(table, 60, capsys)
    assert "123,456,789.25" in text
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize("width", [60, 80, 100])
def test_headings_of_numbers_are_broken_before_texts(width: int, capsys) -> None:
    columns = ("module", "class", "MACs (G)", "MACs (%)", "FLOPs (G)", "FLOPs (%)", "parameters (M)")
    row = ("backbone.global_feature_extractor", "GlobalFeatureExtractor", 1.092, 60.56, 2.221, 59.5, 1.328)
    lines = printed(Table("", columns, (row,) * 9), width, capsys).splitlines()
    assert {len(line) for line in lines} == {width}
    assert (lines[0][0], lines[0][-1]) == ("┏", "┓")
    assert sum("1.092" in line for line in lines) == 9


NOTE = f"set this in the backbone, {'word ' * 20}norm_cfg=dict(type='BN', eps=0.001) and {'x' * 70}"


def test_notes_are_wrapped_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "60")
    Output(as_json=False).notes([NOTE, "short [bold]"])
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("note: set this")
    assert all(line.startswith(6 * " ") for line in lines[1:])
    assert [line.strip() for line in lines if len(line) > 60] == ["x" * 70]
    assert " ".join(line.strip() for line in lines) == f"note: {NOTE}"
    assert last == "note: short [bold]"


def test_warnings_are_wrapped_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "40")
    ConsoleReporter().warn("no checkpoint is given: the weights are random")
    assert capsys.readouterr().err.splitlines() == [
        "warning: no checkpoint is given: the",
        "         weights are random",
    ]


def test_notes_are_a_line_each_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).notes([NOTE, "short [bold]"])
    assert capsys.readouterr().out == f"note: {NOTE}\nnote: short [bold]\n"
