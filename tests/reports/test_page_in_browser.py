"""What a page does in a real browser: tables sort, pictures open, nothing is asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from serve_support.browser import chromium

from segplug.reports.document import Page, Picture, Pictures, Section, render
from segplug.results import Figure, Table

pytestmark = pytest.mark.slow

ROWS = (("b", 1234.5), ("a10", None), ("a9", 0.00001), ("c", 9.0))

CHART = (
    b"<svg xmlns='http://www.w3.org/2000/svg' width='900pt' viewBox='0 0 900 90'>"
    b"<rect width='900' height='9'/></svg>"
)


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    picture = bytes(cv2.imencode(".png", np.zeros((1500, 2000, 3), np.uint8))[1])
    sections = (
        Section("Scores", (Table("", ("name", "value", "w" * 300), tuple((*row, "x") for row in ROWS)),)),
        Section("Pictures", (Pictures((Picture("one", picture), Picture("two", picture))),)),
        Section("Chart", (Figure("chart", lambda: CHART, "image/svg+xml"),)),
    )
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render(Page("t" * 200, "lead", "segplug " + "x" * 300, sections)), encoding="utf-8")
    return path.as_uri()


def _open(browser, address, **settings):
    page = browser.new_context(**settings).new_page()
    page.complaints = []
    page.on("console", lambda line: page.complaints.append(line.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    return page


def _names(page):
    return page.locator("tbody tr td:first-child").all_text_contents()


def test_headings_sort_by_the_keyboard_and_missing_values_come_last(browser, address):
    page = _open(browser, address)
    heading, button = page.locator("th").nth(1), page.locator("th button").nth(1)
    button.focus()
    for state, order in (
        ("ascending", ["a9", "c", "b", "a10"]),
        ("descending", ["b", "c", "a9", "a10"]),
        (None, ["b", "a10", "a9", "c"]),
    ):
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == state
        assert _names(page) == order
    page.locator("th button").first.click()
    assert _names(page) == ["a9", "a10", "b", "c"]
    assert page.complaints == []


@pytest.mark.parametrize("script", [True, False])
def test_a_picture_opens_in_its_full_size_and_closes(browser, address, script):
    page = _open(browser, address, java_script_enabled=script, viewport={"width": 800, "height": 600})
    picture = page.locator(".picture img").first
    assert picture.bounding_box()["width"] < 400
    page.locator(".picture a.open").first.click()
    assert picture.bounding_box()["width"] == 2000
    page.get_by_role("link", name="Close: one").click()
    assert picture.bounding_box()["width"] < 400
    if script:
        page.locator(".picture a.open").first.click()
        page.keyboard.press("Escape")
        page.wait_for_function("!document.querySelector('.picture:target')")
        assert page.complaints == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(browser, address, width, scheme):
    page = _open(browser, address, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.complaints == []
