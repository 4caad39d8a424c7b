"""Drawings in characters, which may have colours."""

from __future__ import annotations

import pytest

from segplug.cli.output import Output

DRAWN = "\x1b[38;2;1;115;178m━━\x1b[0m road\x1b]8;;http://x\x07\x1b[2J"


@pytest.mark.parametrize(
    ("settings", "colour"),
    [({"FORCE_COLOR": "1"}, True), ({}, False), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)],
)
def test_only_colours_reach_the_terminal(monkeypatch, capsys, settings, colour) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    output = Output(as_json=False)
    assert output.screen.colour is colour
    output.drawing(DRAWN)
    printed = capsys.readouterr().out
    assert ("\x1b[38;" in printed) is colour
    assert "━━" in printed
    assert "\x1b]8" not in printed
    assert "\x1b[2J" not in printed
    assert r"\x1b[2J" in printed


def test_a_terminal_without_their_characters_shows_drawings_in_ascii(monkeypatch, capsys) -> None:
    monkeypatch.setattr("rich.console.Console.encoding", property(lambda console: "ascii"))
    Output(as_json=False).drawing("┌─┐\n2┤⠑⠀█\n└┬┘ ━━ a")
    assert capsys.readouterr().out == "+-+\n2+* #\n+++ -- a\n"
