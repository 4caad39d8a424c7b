"""The demo's page, made from what the commands print; and, slowly, the whole demo."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scripts.breadth.facts import ECOSYSTEMS
from scripts.breadth.picture import describe
from scripts.breadth.table import measured

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"

cv2 = pytest.importorskip("cv2")

PROGRAM = ".venv-demo/bin/segplug"
EXPORT = (
    f"{PROGRAM} export onnx demo/config.py --checkpoint demo/weights.pth --output demo/out/model.onnx "
    "--shape 256 512 --verify"
)
VERIFICATION = {
    "passed": True,
    "inputs": ["0000.png 1x256x512", "0000.png 1x323x643"],
    "pixels": 339_761,
    "label_agreement": 0.99987,
    "firm_agreement": 1.0,
    "near_ties": 0.00237,
    "miou": 0.999912,
    "max_logit_difference": 7.77e-05,
    "relative_difference": 4.22e-06,
    "worst_input": "0000.png 1x323x643",
    "worst_pixel": [177, 551],
    "thresholds": {"logits": 0.001, "firm_agreement": 1.0, "miou": 0.9999},
}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """demo/page.py, whose folder is on the path of its imports only here."""
    monkeypatch.syspath_prepend(DEMO)
    loaded = importlib.import_module("page")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("page", "scenes")]:
        monkeypatch.delitem(sys.modules, name)
    return loaded


@pytest.fixture
def data(tmp_path: Path, page: ModuleType) -> Path:
    """Four scenes with masks and predictions; each has more wrong rows than the one before."""
    from segplug.runtime.indexed_png import indexed_png

    for folder in ("images/test", "masks/test", "labels"):
        (tmp_path / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        name = f"{number:04d}.png"
        truth = rng.integers(0, len(page.CLASSES), (32, 64), np.uint8)
        predicted = truth.copy()
        predicted[: 4 * number] = (truth[: 4 * number] + 1) % len(page.CLASSES)
        cv2.imwrite(str(tmp_path / "images/test" / name), rng.integers(0, 256, (32, 64, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "masks/test" / name), truth)
        (tmp_path / "labels" / name).write_bytes(indexed_png(predicted, page.COLOURS))
    (tmp_path / "model.onnx").write_bytes(bytes(2_500_000))
    return tmp_path


def report(page: ModuleType, iou: float, speed: float) -> dict[str, Any]:
    per_class = {f"IoU.{name}": iou + number / 100 for number, name in enumerate(page.CLASSES)}
    return {
        "images": 4,
        "images_per_second": speed,
        "scores": {"mIoU": iou, "mAcc": 0.91, "aAcc": 0.92, **per_class},
    }


def make_job(page: ModuleType, data: Path) -> Any:
    model = data / "model.onnx"
    return page.Job(
        steps=(page.Step("Export: to one file", (EXPORT,), 20.4), page.Step("Score: all scenes", (), 3.0)),
        verification=VERIFICATION,
        backends=(
            page.Backend("PyTorch", report(page, 0.8123, 4.25), model),
            page.Backend("ONNX Runtime", report(page, 0.8011, 9.75), model),
        ),
        model=model,
        scenes=data / "images/test",
        program=PROGRAM,
    )


def text_of(html: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(
        unescape(re.sub("<[^>]+>", " ", re.sub(r"(?s)<(style|script)>.*?</\1>", "", html))).split()
    )


def test_the_page_tells_all(page: ModuleType, data: Path) -> None:
    job = make_job(page, data)
    page.write_page(job, data / "index.html", labels=data / "labels")
    html = (data / "index.html").read_text(encoding="utf-8")
    text = text_of(html)

    assert re.findall('(?:src|href)="(?!data:|#)', html) == [], "the page is one file"
    # The commands as a user types them: what is folded is one command.
    code = unescape(re.sub("<[^>]+>", "", "\n".join(re.findall("(?s)<pre.*?</pre>", html))))
    unfolded = re.sub(r" \\\n +", " ", code)
    for command in (EXPORT, *job.next_commands, f"{PROGRAM} predict model.onnx PHOTO.jpg"):
        assert command in unfolded
    # Scores side by side, each class, and the verification.
    assert "PyTorch 0.8123 0.9100 0.9200 4.250 2.500" in text
    assert "ONNX Runtime 0.8011 0.9100 0.9200 9.750 2.500" in text
    assert f"{page.CLASSES[1]} 0.8223 0.8111 0.0112" in text
    assert "Yes, within rounding" in text
    for value in ("339,761", "99.9870%", "0.2370%", "7.77e-05", "0000.png 1x323x643, row 177, column 551"):
        assert value in text
    # Images: the worst, the middle and the best, four pictures each, and a legend of every class.
    assert "Worst: 0003.png, 62.5%" in text
    assert "Best: 0000.png, 100.0%" in text
    alts = re.findall('<img [^>]*alt="([^"]+)"', html)
    parts = ("image", "truth", "prediction", "difference")
    assert alts == [f"{name}: {part}" for name in ("0003.png", "0001.png", "0000.png") for part in parts]
    legend = text_of("".join(re.findall('(?s)<ul class="legend">.*?</ul>', html)))
    assert legend.split() == list(page.CLASSES)
    # What else is taken: a row and a command for each kind of model, and the picture, in the page's colours.
    for kind in ECOSYSTEMS:
        assert f"{kind.name} {kind.given.replace('`', '')} {measured(kind)}" in text
        assert f"# {kind.name}\n{kind.command}" in unfolded
    assert f'aria-label="{describe()}"' in html
    assert 'style="fill: var(--accent)"' in html


def test_a_failed_verification_is_said(page: ModuleType, data: Path) -> None:
    job = make_job(page, data)
    failed = page.Job(
        job.steps, {**VERIFICATION, "passed": False}, job.backends, job.model, job.scenes, PROGRAM
    )
    page.write_page(failed, data / "index.html", labels=data / "labels")
    text = text_of((data / "index.html").read_text(encoding="utf-8"))
    assert "NO. Both got" in text
    assert "Yes, within rounding" not in text


@pytest.mark.slow
def test_the_demo_ends_with_a_page_and_commands_that_work(tmp_path: Path) -> None:
    pytest.importorskip("mmseg")
    pytest.importorskip("onnxscript")
    pytest.importorskip("segplug_serve")
    shutil.copytree(DEMO, tmp_path / "demo", ignore=shutil.ignore_patterns("out", "data", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "demo"], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
    )
    titles = re.findall(r"(?m)^\[(\d)/6\] (\w+)", done.stdout)
    assert [int(number) for number, _ in titles] == [1, 2, 3, 4, 5, 6]
    assert "demo/out/index.html" in done.stdout
    assert "Yes, within rounding" in text_of((tmp_path / "demo/out/index.html").read_text(encoding="utf-8"))

    predict, serve, info = re.findall("(?m)^ {4}(.*segplug .*)$", done.stdout)
    subprocess.run(shlex.split(predict), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "demo/out/predictions/0007_painted.png").is_file()
    described = subprocess.run(shlex.split(info), cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True)
    assert "vegetation" in described.stdout
    server = subprocess.Popen(
        [*shlex.split(serve), "--port", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert "http://127.0.0.1:" in server.stdout.readline()
    finally:
        server.terminate()
        server.communicate()
