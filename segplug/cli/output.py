"""Print the result of a command, for people (tables, notes, progress) and for programs (JSON).

With ``--json`` one JSON document goes to stdout, and everything for people goes to stderr.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from segplug.cli.printing import print_document
from segplug.cli.stages import opened, stages_on
from segplug.legend import LegendEntry, share_text
from segplug.notebook import Facts
from segplug.progress import Progress as ProgressHandle
from segplug.reports.cells import cell_text, is_numeric_column
from segplug.results import Screen, Table
from segplug.text import printable, printable_line, shortened

__all__ = ["ConsoleReporter", "Output"]


_COLOUR_CODE = re.compile(r"(\x1b\[[0-9;]*m)")
"""What sets a colour on a terminal. The parentheses keep it when a text is split there."""

_IN_ASCII = str.maketrans(
    {
        **dict.fromkeys("\u2500\u2501", "-"),
        "\u2502": "|",
        **dict.fromkeys("\u250c\u2510\u2514\u2518\u251c\u2524\u252c\u2534\u253c", "+"),
        "\u2588": "#",
        **dict.fromkeys(map(chr, range(0x2801, 0x2900)), "*"),  # the points of braille
        "\u2800": " ",
    }
)
"""What stands for the characters of drawings where the terminal's encoding lacks them."""

_FEW_ROWS = 8
_MOST_LABELS = 60
"""How many labels are listed; the JSON document has all."""
_MOST_SHARES = 12
"""How many classes of an image are listed; the JSON document has all."""
_LONGEST_NAME = 40
"""Characters of a class in such a list."""
_NARROWEST_TEXT = 12
"""Characters in which a text is still readable when it is broken."""


def _filled(console: Console, head: str, text: str) -> str:
    """A head and a text as one line; in a terminal broken between words, with later lines indented."""
    line = printable_line(f"{head}{text}")
    if not console.is_terminal:
        return line
    # Settings and paths stay whole, however long: they are there to be copied.
    indent = " " * len(head)
    return textwrap.fill(
        line, console.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _least_width(table: Table) -> int:
    """Characters that a table needs, with its texts and headings broken and its numbers whole."""
    width = 1
    for position, column in enumerate(table.columns):
        if is_numeric_column(table.rows, position):
            width += 3 + _number_width(table, position)
        else:
            longest = max([len(column), *(len(cell_text(row[position])) for row in table.rows)])
            width += 3 + min(longest, _NARROWEST_TEXT)
    return width


def _whole_width(table: Table) -> int:
    """Characters that a table needs without broken lines."""
    cells = (table.columns, *(tuple(map(cell_text, row)) for row in table.rows))
    return 1 + sum(3 + max(map(cell_len, column)) for column in zip(*cells, strict=True))


def _number_width(table: Table, position: int) -> int:
    """Characters of a column's longest number, and of the longest word above it."""
    words = table.columns[position].split()
    return max(len(text) for text in (*words, *(cell_text(row[position]) for row in table.rows), ""))


def _transposed(table: Table) -> Table:
    """The same with a line for each column, and a column for each row."""
    heads = tuple(cell_text(row[0]) for row in table.rows)
    lines = tuple(
        (column, *(cell_text(row[position]) for row in table.rows))
        for position, column in enumerate(table.columns[1:], start=1)
    )
    return Table(table.title, (table.columns[0], *heads), lines)


class Output:
    """Prints the result of a command.

    Args:
        as_json: Print one JSON document on stdout, and everything else on stderr.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False)
        if not self.console.is_terminal:
            # A pipe or a log has no width of its own; 80 columns would fold every table.
            self.console.width = 160

    def say(self, line: str) -> None:
        """One line for people."""
        self.console.print(Text(printable_line(line)), soft_wrap=True)

    def text(self, text: str) -> None:
        """Several lines for people."""
        self.console.print(Text(printable(text)), soft_wrap=True)

    @property
    def screen(self) -> Screen:
        """What shows the output for people."""
        return Screen(self.console.width, colour=self._has_colours)

    @property
    def _has_colours(self) -> bool:
        return self.console.color_system is not None and not self.console.no_color

    def drawing(self, text: str) -> None:
        """Lines that were drawn for :attr:`screen`. Of their codes only colours are obeyed."""
        safe = "".join(
            part if _COLOUR_CODE.fullmatch(part) else printable(part) for part in _COLOUR_CODE.split(text)
        )
        if not self.console.encoding.startswith("utf"):
            safe = safe.translate(_IN_ASCII)
        shown = Text.from_ansi(safe) if self._has_colours else Text(_COLOUR_CODE.sub("", safe))
        self.console.print(shown, soft_wrap=True)

    def notes(self, notes: Iterable[str]) -> None:
        """Print notes, one paragraph each.

        In a terminal words stay whole, and lines after a note's first are indented; elsewhere a note is one
        line, which programs can search.
        """
        for note in notes:
            self.text(_filled(self.console, "note: ", note))

    def table(self, table: Table) -> None:
        """A table for people; numbers are right-aligned and never broken.

        A table of few rows that is too wide for the terminal is transposed. In others the headings of
        numbers are broken first, then texts.
        """
        if len(table.rows) <= _FEW_ROWS and _least_width(table) > self.console.width:
            table = _transposed(table)
        is_tight = _whole_width(table) > self.console.width
        title = Text(printable_line(table.title)) if table.title else None
        shown = RichTable(title=title, title_justify="left")
        for position, column in enumerate(table.columns):
            heading = Text(printable(column))
            if is_numeric_column(table.rows, position):
                width = _number_width(table, position) if is_tight else None
                shown.add_column(heading, justify="right", width=width)
            else:
                shown.add_column(heading, overflow="fold")
        for row in table.rows:
            shown.add_row(*(Text(printable(cell_text(value))) for value in row))
        self.console.print(shown)

    def facts(self, facts: Facts) -> None:
        """Facts as two columns: what, and its lines. In a terminal long lines are broken between words."""
        indent = max((len(what) for what, _ in facts), default=0) + 2
        for what, lines in facts:
            head = Text(f"{printable_line(what):<{indent}}", style="bold")
            for line in lines:
                for part in self._broken(printable_line(line), self.console.width - indent):
                    self.console.print(head + Text(part), soft_wrap=True)
                    head = Text(" " * indent)

    def paragraph(self, text: str, *, indent: int = 0) -> None:
        """A text without line ends; in a terminal it is broken between words."""
        for part in self._broken(printable_line(text), self.console.width - indent):
            self.console.print(Text(" " * indent + part), soft_wrap=True)

    def _broken(self, line: str, width: int) -> list[str]:
        """A line as it is; in a terminal as lines of at most ``width``, with long words and paths whole."""
        if not self.console.is_terminal or width < _NARROWEST_TEXT:
            return [line]
        return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]

    def colours(self, legend: Sequence[LegendEntry]) -> None:
        """The names of labels, each with its number and a block of its colour where colours are shown."""
        coloured = self._has_colours
        shown = []
        for entry in legend[:_MOST_LABELS]:
            text = Text(f"{entry.label} {shortened(printable_line(entry.name), _LONGEST_NAME)}")
            if coloured and entry.painted:
                text = Text("  ", style="on rgb({},{},{})".format(*entry.colour)) + Text(" ") + text
            shown.append(text)
        if len(legend) > _MOST_LABELS:
            shown.append(Text(f"and {len(legend) - _MOST_LABELS} more"))
        self.console.print(Columns(shown, padding=(0, 3)) if coloured else Text(", ").join(shown))

    def legend(self, entries: Sequence[LegendEntry]) -> None:
        """Classes with their shares, one a line, each with a block of its colour where colours are shown."""
        coloured = self._has_colours
        shown = entries[:_MOST_SHARES]
        names = [shortened(printable_line(entry.name), _LONGEST_NAME) for entry in shown]
        width = max(map(cell_len, names), default=0)
        for entry, name in zip(shown, names, strict=True):
            line = Text("  ")
            if coloured:
                block = "on rgb({},{},{})".format(*entry.colour) if entry.painted else ""
                line.append("  ", style=block).append(" ")
            line.append(f"{name}{' ' * (width - cell_len(name))}  {share_text(entry.share or 0):>7}")
            self.console.print(line, soft_wrap=True)
        if len(entries) > _MOST_SHARES:
            rest = share_text(sum(entry.share or 0 for entry in entries[_MOST_SHARES:]))
            self.say(f"  and {len(entries) - _MOST_SHARES} more, {rest} in all")

    def tables(self, tables: Iterable[Table]) -> None:
        """Several tables."""
        for table in tables:
            self.table(table)

    def document(self, data: Any) -> None:
        """Print the JSON document, if ``--json`` was given. NaN and infinities become null."""
        if self.as_json:
            print_document(data, indent=2)


class ConsoleReporter:
    """Notes, warnings and stages on stderr (:mod:`segplug.cli.stages`)."""

    def __init__(self) -> None:
        # The stream itself: where libraries are kept quiet, sys.stderr leads elsewhere for a while.
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._stages = stages_on(self._console)

    def note(self, message: str) -> None:
        self._console.print(Text(printable_line(message)))

    def warn(self, message: str) -> None:
        self._console.print(Text(_filled(self._console, "warning: ", message)))

    def progress(self, description: str, total: int | None) -> AbstractContextManager[ProgressHandle]:
        return opened(self._stages, description, total)
