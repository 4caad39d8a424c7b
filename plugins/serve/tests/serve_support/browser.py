"""A real headless Chromium, and pages that note what they ask for and complain about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

SHOWN = "#result:not(.waiting):not([hidden])"
"""The result, when it is whole."""


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser of this machine, with a camera that shows a made-up picture.

    Without one, or without what drives it, the test is skipped. While it is open, an event loop runs in this
    thread.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("there is no chromium on PATH")
    with playwright.sync_playwright() as play:
        # Chromium's own sandbox does not start for root, which tests in a container are.
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = play.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A tab that shows a server's page.

    Args:
        browser: The browser.
        address: The page.
        **settings: Those of the tab, such as its size.
    """

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.asked: list[tuple[str, str]] = []
        """Method and address of every request."""
        self.complaints: list[str] = []
        """Lines of the console."""
        self.page.on("request", lambda request: self.asked.append((request.method, request.url)))
        self.page.on("console", lambda line: self.complaints.append(f"{line.type}: {line.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def drop(self, name: str, content: bytes, kind: str = "image/png") -> None:
        """Drop a file on the page."""
        file = self.page.evaluate_handle(
            """([name, bytes, type]) => {
                const dropped = new DataTransfer();
                dropped.items.add(new File([new Uint8Array(bytes)], name, { type }));
                return dropped;
            }""",
            [name, list(content), kind],
        )
        self.page.dispatch_event("body", "dragover", {"dataTransfer": file})
        self.page.dispatch_event("body", "drop", {"dataTransfer": file})

    def canvas(self, name: str) -> np.ndarray:
        """The pixels of a canvas: RGBA ``(H, W, 4)``."""
        width, height, values = self.page.evaluate(
            """(id) => {
                const canvas = document.getElementById(id);
                const { width, height } = canvas;
                const copy = new OffscreenCanvas(width, height).getContext("2d");
                copy.drawImage(canvas, 0, 0);
                return [width, height, [...copy.getImageData(0, 0, width, height).data]];
            }""",
            name,
        )
        return np.array(values, np.uint8).reshape(height, width, 4)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that a selector finds."""
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def close(self) -> None:
        """Close the tab."""
        self.context.close()
