"""How much longer the page of `segplug serve` takes to show a mask than the model takes to compute it.

    python benchmarks/serve_page.py model.onnx photo.jpg other.jpg --rounds 9

Each round opens the page in a new tab of headless Chromium and gives it an image, so each result is the
page's first. The page measures from then to the drawn mask; the server's times are those of its
`Server-Timing`. The images take turns. Browser, server and model share the processors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from measure import PYTHON, show

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WARM_UP = 2


def main() -> None:
    """Start the server and the browser, measure, print medians."""
    from playwright.sync_api import sync_playwright

    arguments = _arguments()
    found: dict[Path, list[dict[str, float]]] = {image: [] for image in arguments.images}
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit("there is no Chromium on PATH")
    with _server(arguments.model) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for number in range(WARM_UP + arguments.rounds):
            for image in arguments.images:
                times = _first_result(browser, address, image)
                if number >= WARM_UP:
                    found[image].append(times)
        browser.close()
    rows = [_row(image.name, times) for image, times in found.items()]
    title = f"{arguments.model.name}: first result of the page, ms, medians of {arguments.rounds}"
    columns = ("image", "in all", "model", "beyond the model", "of it the server", "of it the page")
    show(title, columns, rows)


def _row(name: str, times: list[dict[str, float]]) -> tuple[str, ...]:
    whole, model = [each["whole"] for each in times], [each["model"] for each in times]
    server = [each["decode"] + each["process"] + each["encode"] for each in times]
    beyond = [one - other for one, other in zip(whole, model, strict=True)]
    page = [one - other for one, other in zip(beyond, server, strict=True)]
    return name, *(f"{median(each):.0f}" for each in (whole, model, beyond, server, page))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_args()


@contextlib.contextmanager
def _server(model: Path) -> Iterator[str]:
    command = (PYTHON, "-m", "segplug", "serve", str(model), "--port", "0", "--json", "--threads", "1")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            if not lines[-1]:
                sys.exit("segplug serve has ended")
        yield json.loads("".join(lines))["page"]
    finally:
        process.terminate()
        process.wait()


def _first_result(browser: Any, address: str, image: Path) -> dict[str, float]:
    """Milliseconds: ``whole``, from the file to the drawn mask, and those of the server by name."""
    page = browser.new_page()
    page.goto(address)
    page.wait_for_load_state("networkidle")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.set_input_files("#file", image)
    if answered.value.status != 200:
        sys.exit(f"{image} was refused: {answered.value.status}")
    page.wait_for_selector("#result:not(.waiting):not([hidden])")
    whole = page.evaluate("performance.getEntriesByName('segplug-result')[0].duration")
    timing = re.findall(r"(\w+);dur=([\d.]+)", answered.value.header_value("server-timing") or "")
    page.close()
    return {"whole": whole, **{name: float(value) for name, value in timing}}


if __name__ == "__main__":
    main()
