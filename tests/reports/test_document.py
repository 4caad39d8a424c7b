"""A page from plain data: whole, safe, and the same without script."""

from __future__ import annotations

import html.parser
import re
from collections import Counter

import pytest

from segplug.errors import UsageError
from segplug.legend import LegendEntry
from segplug.reports.document import (
    Bullets,
    Code,
    Failure,
    Legend,
    Page,
    Picture,
    Pictures,
    Prose,
    Section,
    render,
)
from segplug.reports.inline_svg import inline_svg
from segplug.results import Figure, Table

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'\u202e"

CHART = b"""<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
     width="60pt" height="30pt" viewBox="0 0 60 30">
  <style>* { display: none }</style>
  <defs><clipPath id="c"><rect width="60" height="30"/></clipPath><path id="m" d="M0 0"/></defs>
  <g clip-path="url(#c)" style="fill: currentColor; stroke: var(--line, #ccc)">
    <use xlink:href="#m" x="3"/></g>
  <text x="1" y="2" style="text-anchor: end">road &lt;b&gt;</text>
</svg>"""


class Elements(html.parser.HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def _page(text: str) -> Page:
    table = Table(text, (text, "n"), ((text, 0.12345), ("b", None)))
    parts = (
        Prose(text),
        Bullets((text,)),
        Failure(text),
        Code(text, "python"),
        Code(text),
        table,
        Figure(text, lambda: CHART, "image/svg+xml", description=text),
        Figure(text, lambda: CHART, "image/svg+xml"),
        Pictures((Picture(text, b"png"), Picture(text, b"jpeg", "image/jpeg", alt=text))),
        Legend((LegendEntry(0, text, (1, 2, 3), 5, 0.5),)),
    )
    return Page(text, text, text, (Section(text, parts),))


def test_no_text_becomes_markup() -> None:
    page = render(_page(HOSTILE))
    ordinary = Counter(tag for tag, _ in Elements(render(_page("x"))).found if tag != "span")
    assert Counter(tag for tag, _ in Elements(page).found if tag != "span") == ordinary
    assert "\u202e" not in page
    assert not any(name.startswith("on") for _, marks in Elements(page).found for name in marks)


def test_a_page_asks_for_nothing_and_runs_no_script_but_its_own() -> None:
    page = render(_page("x"))
    links = [marks[name] for _, marks in Elements(page).found for name in ("src", "href") if name in marks]
    assert links
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "default-src 'none'" in page
    assert "script-src 'sha256-" in page


def test_ids_are_on_the_page_once_and_every_reference_has_its_place() -> None:
    page = render(_page("x"))
    ids = Counter(re.findall(r' id="([^"]+)"', page))
    assert max(ids.values()) == 1
    named = {*re.findall(r"url\(#([^)]+)\)", page), *re.findall(r'href="#([^"]+)"', page)} - {"closed"}
    assert named
    assert named <= set(ids)


def test_numbers_sort_by_their_exact_value() -> None:
    assert '<td class="n" data-value="0.12345">0.1235</td><' in render(_page("x")).replace("\n", "")


def test_the_foot_has_the_date_with_its_zone_and_the_command(monkeypatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert '<time datetime="1970-01-02T00:00:00+00:00">' in render(_page("x"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 30)
    with pytest.raises(UsageError, match="no number of seconds since 1970"):
        render(_page("x"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT[\d:]+[+-]\d\d:\d\d">', render(_page("x")))
    assert "<pre" not in render(Page("t"))


def test_a_chart_takes_the_colours_of_the_page_and_leaves_its_style_alone() -> None:
    chart = inline_svg(CHART, "f1", "two <curves>")
    assert chart is not None
    assert "fill: currentColor; stroke: var(--line, #ccc)" in chart
    assert "<style" not in chart
    assert 'clip-path="url(#f1-c)"' in chart
    assert 'href="#f1-m"' in chart
    assert "road &lt;b&gt;</text>" in chart
    assert 'aria-label="two &lt;curves&gt;"' in chart


@pytest.mark.parametrize(
    "element",
    [
        "<script>alert(1)</script>",
        "<foreignObject><body onload='alert(1)'/></foreignObject>",
        "<a href='http://x'><text>a</text></a>",
        "<g onclick='alert(1)'/>",
        "<use href='http://x#a'/>",
        "<image href='http://x/a.png'/>",
        "<image href='data:image/svg+xml;base64,AAAA'/>",
        "<g style='fill: url(http://x)'/>",
        r"<g style='fill: \75rl(http://x)'/>",
        "<g style='background: image-set(&quot;http://x&quot; 1x)'/>",
        "<g style='@import &quot;http://x&quot;'/>",
        "<set attributeName='href' to='http://x'/>",
        "<style>@import 'http://x'</style>",
        "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
    ],
)
def test_a_chart_brings_neither_script_nor_addresses(element: str) -> None:
    made = inline_svg(f"<svg xmlns='http://www.w3.org/2000/svg'>{element}</svg>".encode(), "f", "d")
    assert made is not None
    for word in ("http", "alert", "script", "onclick", "import", "svg+xml"):
        assert word not in made


@pytest.mark.parametrize("content", [b"no svg", b"<svg>", b"<html/>", b"\xff\xfe\x00"])
def test_what_is_no_svg_is_shown_as_a_picture(content: bytes) -> None:
    assert inline_svg(content, "f", "d") is None
    page = render(Page("t", sections=(Section("", (Figure("f", lambda: content, "image/svg+xml"),)),)))
    assert 'src="data:image/svg+xml;base64,' in page


def test_words_between_backquotes_are_code() -> None:
    page = render(Page("t", sections=(Section("", (Bullets(("use `a <b>`, not ` or `c",)),)),)))
    assert "<li>use <code>a &lt;b&gt;</code>, not <code> or </code>c</li>" in page


def test_a_filter_is_of_columns_that_are_there():
    table = Table("t", ("a", "b"), (("x", 1),), filters=("a",))
    assert '<th scope="col" data-filter>a</th><th scope="col" class="n">b</th>' in render(
        Page("t", sections=(Section("", (table,)),))
    )
    with pytest.raises(ValueError, match="no column 'c' to filter by"):
        Table("t", ("a", "b"), (("x", 1),), filters=("c",))
