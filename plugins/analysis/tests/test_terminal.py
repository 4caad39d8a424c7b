"""Charts in characters."""

from __future__ import annotations

import re

import pytest
from segplug_analysis.terminal import Bar, Line, bar_chart, line_chart

from segplug.results import Screen

LINES = [Line("a loss", [0, 1000, 8000], [2.0, 1.0, 0.5]), Line("b loss", [0, 8000], [1.5, 0.1])]
BARS = [Bar("model.onnx, onnxruntime", 10.0, 12.5), Bar("c" * 100 + ", openvino", 40.0, 40.0)]


@pytest.mark.parametrize("columns", [40, 80, 140])
@pytest.mark.parametrize("colour", [True, False])
def test_a_chart_fits_the_screen_and_has_codes_only_where_they_are_shown(columns, colour) -> None:
    screen = Screen(columns, colour=colour)
    for text in (
        line_chart("loss", LINES, screen, x_label="iteration"),
        bar_chart("times", BARS, screen, x_label="ms"),
    ):
        assert ("\x1b[" in text) is colour
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert "\x1b" not in plain
        assert columns - 2 <= max(map(len, plain.split("\n"))) <= columns if columns < 120 else 120


def test_axes_have_round_numbers() -> None:
    text = line_chart("loss", LINES, Screen(80, colour=False), x_label="iteration")
    for tick in ("0.5┤", "1.5┤", "  2000  ", "8000", "iteration"):
        assert tick in text


def test_without_colours_each_line_has_its_letter() -> None:
    text = line_chart("loss", LINES, Screen(80, colour=False), x_label="iteration")
    assert "  a a loss" in text
    assert "  b b loss" in text
    assert text.count("a") > 20
    alone = line_chart("loss", LINES[:1], Screen(80, colour=False), x_label="iteration")
    assert "  ━━ a loss" in alone


def test_a_logarithmic_axis_has_the_values_at_its_marks() -> None:
    lines = [Line("x", [0, 1, 2], [0.001, 1.0, 1000.0])]
    text = line_chart("loss", lines, Screen(80, colour=False), x_label="epoch", log_y=True)
    assert "loss, log scale" in text
    for mark in ("0.01┤", "  1┤", "100┤"):
        assert mark in text


def test_values_that_do_not_change_and_lines_without_values() -> None:
    screen = Screen(80, colour=False)
    assert "5┤" in line_chart("t", [Line("x", [1, 2], [5, 5])], screen, x_label="epoch")
    assert "7┤" in line_chart("t", [Line("x", [1], [7])], screen, x_label="epoch")
    assert line_chart("t", [Line("x", [], [])], screen, x_label="epoch") == "t: nothing to draw"
    assert "0" in bar_chart("t", [Bar("a", 0.0, 0.0)], screen, x_label="ms")


def test_a_name_cannot_send_codes() -> None:
    hostile = "\x1b]8;;http://x\x07\x1b[31m\u202e"
    screen = Screen(80, colour=False)
    for text in (
        line_chart(hostile, [Line(hostile, [1, 2], [1, 2])], screen, x_label="epoch"),
        bar_chart(hostile, [Bar(hostile, 1.0, 2.0)], screen, x_label="ms"),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert r"\x1b" in text
