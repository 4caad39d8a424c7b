"""Run the main job as a user does on the command line: export, verify, score, paint.

Each step prints its command. All commands run in the repository's root.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from make_data import TEST_SCENES, write_split
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "demo/config.py"
WEIGHTS = "demo/weights.pth"
OUT = "demo/out"
ONNX = f"{OUT}/model.onnx"
SCENE = "demo/data/images/test/0000.png"

console = Console(highlight=False)


def main() -> None:
    """Run the four steps and print a summary."""
    (ROOT / OUT).mkdir(parents=True, exist_ok=True)

    step(f"1. Data: {TEST_SCENES} street scenes, drawn by demo/make_data.py")
    drawn = write_split(ROOT / "demo" / "data", "test", TEST_SCENES)
    console.print(f"{drawn} drawn, {TEST_SCENES - drawn} existed already, in demo/data")

    step("2. Export: an mmsegmentation config and checkpoint to one ONNX file, and compare it with PyTorch")
    export = segplug(
        *("export", "onnx", CONFIG, "--checkpoint", WEIGHTS, "--output", ONNX),
        *("--shape", "256", "512", "--dynamic", "--verify", "--input-img", SCENE, "--force"),
    )

    step("3. Score: both backends, with the same images and the same preprocessing")
    scoring = ("--dataset", CONFIG, "--eval", "mIoU")
    torch = segplug("infer", "pytorch", CONFIG, "--checkpoint", WEIGHTS, *scoring)
    onnx = segplug("infer", "onnxruntime", ONNX, *scoring)

    step("4. Paint: the labels of the ONNX file over the images")
    segplug("infer", "onnxruntime", ONNX, "--dataset", CONFIG, "--show-dir", f"{OUT}/painted")

    step("The result")
    summarise(export, {"PyTorch": (torch, WEIGHTS), "ONNX Runtime": (onnx, ONNX)})


def step(title: str) -> None:
    """Print the title of a step."""
    console.print(f"\n[bold]{title}[/bold]")


def segplug(*arguments: str) -> dict[str, Any]:
    """Run ``segplug run ... --json``; returns its JSON. Tables and progress go to the terminal."""
    command = ["run", *arguments, "--json"]
    console.print(f"$ segplug {' '.join(command)}", style="cyan", markup=False, soft_wrap=True)
    done = subprocess.run(
        [sys.executable, "-m", "segplug", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.returncode)  # the command has printed the error
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def summarise(export: dict[str, Any], runs: dict[str, tuple[dict[str, Any], str]]) -> None:
    """Print one row for each backend, and the paths of the results."""
    table = Table("backend", "mIoU", "mAcc", "aAcc", "images/s", "labels equal to PyTorch", "MB")
    for name, (report, file) in runs.items():
        scores = [f"{report['scores'][key]:.4f}" for key in ("mIoU", "mAcc", "aAcc")]
        agreement = f"{export['verification']['label_agreement']:.4%}" if file == ONNX else "-"
        megabytes = f"{(ROOT / file).stat().st_size / 1e6:.2f}"
        table.add_row(name, *scores, f"{report['images_per_second']:.1f}", agreement, megabytes)
    console.print(table)
    console.print(f"the model       {ONNX}")
    console.print(f"painted images  {OUT}/painted")
    console.print("the scenes      demo/data/images/test, masks in demo/data/masks/test")


if __name__ == "__main__":
    main()
