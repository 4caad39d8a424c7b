"""What becomes of a report: cells, sheets, a page."""

from __future__ import annotations

import csv
import html.parser
import json
from dataclasses import replace
from pathlib import Path

import pytest

from segplug.errors import UsageError
from segplug.reports.cells import cell_text, csv_cell
from segplug.reports.page import as_page, write_page
from segplug.reports.sheets import write_sheets
from segplug.results import AnalyzeReport, Figure, Table

PIXEL = b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>"

REPORT = AnalyzeReport(
    title="Logs of <a & b>",
    data={"x": 1},
    tables=(
        Table("Per class", ("class", "IoU"), (("road", 1 / 3), ("<sky>", None))),
        Table("Per class", ("n",), ((12345678,),)),
        Table("", ("n",), ()),
    ),
    figures=(Figure("curves", lambda: PIXEL, "image/svg+xml", description='two "curves"'),),
    notes=("MACs are not FLOPs.",),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.12345, "0.1235"),
        (0.0, "0.0000"),
        (-4e-5, "-4e-05"),
        (1429.6812, "1,429.68"),
        (-3.01, "-3.010"),
        (48.9755, "48.98"),
        (4096, "4,096"),
        (0.000136, "0.0001"),
        (48975494, "48,975,494"),
        (True, "yes"),
        ("a", "a"),
    ],
)
def test_cells(value, text) -> None:
    assert cell_text(value) == text


class Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_needs_nothing_beside_it() -> None:
    page = Page(as_page(REPORT))
    assert page.open == []
    assert page.links == []
    words = "".join(page.words)
    for word in ("Logs of <a & b>", "0.3333", "<sky>", "12,345,678", "MACs are not FLOPs."):
        assert word in words


def test_a_text_report_is_a_page_too() -> None:
    text = "model = dict(a='<b>')"
    assert "model = dict(a=&#x27;&lt;b&gt;&#x27;)" in as_page(AnalyzeReport(title="t", text=text))
    coloured = as_page(AnalyzeReport(title="t", text=text, text_language="python"))
    assert "<span class=\"c-s1\">'&lt;b&gt;'</span>" in coloured
    assert text in "".join(Page(coloured).words)


def test_a_name_that_is_no_text(tmp_path) -> None:
    write_page(AnalyzeReport(title="log of \udcff.json"), tmp_path / "r.html")
    assert r"log of \xff.json" in (tmp_path / "r.html").read_text()


def test_a_page_that_is_there_is_kept(tmp_path) -> None:
    path = tmp_path / "r.html"
    path.write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        write_page(REPORT, path)
    assert path.read_text() == "mine"
    write_page(REPORT, path, force=True)
    assert "Logs of" in path.read_text()


def test_sheets_have_every_digit_and_names_of_their_own(tmp_path) -> None:
    paths = write_sheets(REPORT.tables, tmp_path / "csv")
    assert [path.name for path in paths] == ["per-class.csv", "per-class-2.csv", "table.csv"]
    with open(paths[0], newline="") as file:
        assert list(csv.reader(file)) == [["class", "IoU"], ["road", str(1 / 3)], ["<sky>", ""]]
    with pytest.raises(UsageError, match="already holds CSV files"):
        write_sheets(REPORT.tables, tmp_path / "csv")
    write_sheets(REPORT.tables[:1], tmp_path / "csv", force=True)


def test_sheets_need_a_folder(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        write_sheets(REPORT.tables, tmp_path / "file")
    with pytest.raises(UsageError, match="is no folder"):
        write_sheets(REPORT.tables, tmp_path / "file" / "csv")


FAILING = """
    from segplug import hookimpl
    from segplug.options import NoOptions
    from segplug.providers import Report
    from segplug.results import AnalyzeReport

    class Failing(Report[NoOptions]):
        hook_version = 2
        needs_subjects = False

        @hookimpl
        def analyze(self, request):
            return AnalyzeReport(title="t", failures=("the <mask> differs",))

    provider = Failing()
"""


def test_a_report_that_does_not_hold_is_shown_and_exits_with_1(install_plugin, tmp_path, capsys) -> None:
    from segplug.cli.root import run_command_line

    install_plugin("failing", {"segplug.analyze": {"failing": "failing_mod:provider"}}, failing_mod=FAILING)
    page = tmp_path / "page.html"
    assert run_command_line(["run", "analyze", "failing", "--html", str(page)]) == 1
    assert "FAILED: the <mask> differs" in capsys.readouterr().out
    assert "the &lt;mask&gt; differs" in page.read_text()
    assert f"segplug run analyze failing --html {page}" in "".join(Page(page.read_text()).words)
    assert run_command_line(["run", "analyze", "failing", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failures"] == ["the <mask> differs"]


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|' /C calc'!A0",
        "+1+cmd",
        "-2+3+cmd",
        "@SUM(1)",
        "\t=1",
        "\rx",
        "\n=1",
        "  =1",
        '"=1',
        "'=1",
        "\u00a0=1",
        "\uff1d1",
        "-",
        "+\u202e1",
    ],
)
def test_no_text_is_a_formula(text: str, tmp_path) -> None:
    assert csv_cell(text).startswith("'")
    write_sheets([Table("t", (text, "n"), ((text, -1.5), (None, -7)))], tmp_path / "t")
    with (tmp_path / "t" / "t.csv").open(newline="") as file:
        heading, row, last = csv.reader(file)
    assert heading[0] == row[0] == csv_cell(text)
    assert (row[1], last) == ("-1.5", ["", "-7"])


@pytest.mark.parametrize(
    "value", [-1, -0.5, -1e-9, None, True, "road", "-0.5", "+3", "a=b", "don't", "straße"]
)
def test_other_cells_stay(value) -> None:
    assert csv_cell(value) is value or csv_cell(value) == value


def test_a_text_stays_one_cell_where_semicolons_separate(tmp_path) -> None:
    write_sheets([Table("t", ("a",), (("x;=cmd|'/C calc'!A0",),))], tmp_path / "t")
    assert (tmp_path / "t" / "t.csv").read_text().splitlines()[1] == "\"x;=cmd|'/C calc'!A0\""


def test_nothing_else_writes_csv() -> None:
    root = Path(__file__).parents[2]
    sources = (
        path
        for folder in ("segplug", "plugins", "examples", "matrix")
        for path in (root / folder).rglob("*.py")
    )
    found = [
        path for path in sources if "csv.writer" in (text := path.read_text("utf-8")) or "DictWriter" in text
    ]
    assert found == [root / "segplug" / "reports" / "sheets.py"]


def test_text_cannot_move_or_hide_what_is_around_it_on_a_page(tmp_path) -> None:
    hostile = "a\u202eb\u2066\u200b\x1b[31m\udcff"
    text = "".join(Page(as_page(replace(REPORT, title=hostile, notes=(hostile,), failures=(hostile,)))).words)
    assert text.count(r"a\u202eb\u2066\u200b\x1b[31m\xff") == 4
    write_sheets([Table("t", (hostile,), ((hostile,),))], tmp_path / "t")
    assert (tmp_path / "t" / "t.csv").read_text().count(r"a\u202eb\u2066\u200b\x1b[31m\xff") == 2
