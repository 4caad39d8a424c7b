"""What a page does in a real browser: tables sort and filter, pictures open, nothing is asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from serve_support.browser import chromium

from segplug.reports.document import Page, Picture, Pictures, Section, render
from segplug.results import Figure, Table

pytestmark = pytest.mark.slow

ROWS = (("b", 1234.5), ("a10", None), ("a9", 0.00001), ("c", 9.0))

CASES = (
    ("unet", "smp", "passed", 0.1),
    ("unet", "mmseg 0.x", "passed", 0.3),
    ("fcn", "mmseg 0.x", "failed", None),
    ("fcn", "torchvision", None, 0.2),
    ("Unet++ a&b", "smp", "failed", None),
)

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


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    cases = Table("Cases", ("family", "source", "result", "difference"), CASES, filters=("source", "result"))
    long = Table("Long", ("number",), tuple((number,) for number in range(21)))
    short = Table("Short", ("number",), tuple((number,) for number in range(20)))
    path = tmp_path_factory.mktemp("page") / "filtered.html"
    path.write_text(render(Page("t", sections=(Section("", (cases, long, short)),))), encoding="utf-8")
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


def _seen(page):
    """The first cells of the rows of the first table that are seen."""
    return page.locator("table").first.locator("tbody tr:visible td:first-child").all_text_contents()


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


def test_a_table_is_filtered_by_its_columns_and_by_words(browser, filtered):
    page = _open(browser, filtered)
    bar = page.get_by_role("search", name="Cases")
    count = bar.get_by_role("status")
    assert (count.text_content(), count.get_attribute("aria-live")) == ("5 of 5 rows", "polite")
    assert bar.get_by_label("result").locator("option").all_text_contents() == [
        "all",
        "passed",
        "failed",
        "none",
    ]
    bar.get_by_label("source").select_option("mmseg 0.x")
    assert _seen(page) == ["unet", "fcn"]
    bar.get_by_label("result").select_option("failed")
    assert (_seen(page), count.text_content()) == (["fcn"], "1 of 5 rows")
    bar.get_by_label("source").select_option("all")
    bar.get_by_label("search").fill("  UNET smp ")
    assert (_seen(page), count.text_content()) == (["Unet++ a&b"], "1 of 5 rows")
    bar.get_by_label("search").fill("nothing")
    assert (_seen(page), count.text_content()) == ([], "0 of 5 rows")
    bar.get_by_label("search").fill("")
    bar.get_by_label("result").select_option("none")
    assert _seen(page) == ["fcn"]
    bar.get_by_label("result").select_option("all")
    page.locator("th button").last.click()
    bar.get_by_label("source").select_option("smp")
    assert _seen(page) == ["unet", "Unet++ a&b"]  # sorted, and the missing value last
    assert page.complaints == []


def test_the_address_holds_the_choice(browser, filtered):
    page = _open(browser, filtered)
    page.get_by_role("search", name="Cases").get_by_label("source").select_option("mmseg 0.x")
    page.get_by_role("search", name="Cases").get_by_label("search").fill("a&b=")
    address = page.evaluate("location.href")
    assert address == f"{filtered}#search=a%26b%3D&source=mmseg+0.x"
    again = _open(browser, address)
    assert again.get_by_role("search", name="Cases").get_by_label("search").input_value() == "a&b="
    again.goto(f"{filtered}#result=failed")
    again.wait_for_function("document.querySelector('output').textContent.startsWith('2')")
    assert _seen(again) == ["fcn", "Unet++ a&b"]
    again.goto(f"{filtered}#source=unknown")
    again.wait_for_function("document.querySelector('output').textContent.startsWith('5')")
    assert again.get_by_role("search", name="Cases").get_by_label("source").input_value() == ""
    again.get_by_role("search", name="Cases").get_by_label("source").select_option("smp")
    again.get_by_role("search", name="Cases").get_by_label("source").select_option("all")
    assert again.evaluate("location.href") == filtered
    assert [*page.complaints, *again.complaints] == []


def test_long_tables_are_searched_and_without_script_all_rows_are_there(browser, filtered):
    page = _open(browser, filtered)
    page.get_by_role("search", name="Long").get_by_label("search").fill("20")
    assert page.get_by_role("search", name="Long").get_by_role("status").text_content() == "1 of 21 rows"
    assert page.get_by_role("search").count() == 2
    assert page.evaluate("location.href") == filtered
    page = _open(browser, filtered, java_script_enabled=False)
    assert page.get_by_role("search").count() == 0
    assert page.locator("tbody tr:visible").count() == 5 + 21 + 20


@pytest.mark.parametrize("width", [380, 1280])
def test_a_filter_fits_the_window_and_headings_stay_in_sight(browser, filtered, width):
    page = _open(browser, filtered, viewport={"width": width, "height": 180})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    region = page.get_by_role("region", name="Cases")
    region.focus()
    top = region.bounding_box()["y"]
    region.evaluate("element => element.scrollTo(0, 9999)")
    assert page.locator("th").first.bounding_box()["y"] == top
