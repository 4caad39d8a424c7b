"""The main job from end to end, as a user types it: export, verify, score, paint.

Each step prints the command that it runs; everything runs from the repository's root.
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
    """Do the four steps and sum them up."""
    (ROOT / OUT).mkdir(parents=True, exist_ok=True)

    step(f"1. Data: {TEST_SCENES} street scenes, drawn by demo/make_data.py")
    drawn = write_split(ROOT / "demo" / "data", "test", TEST_SCENES)
    console.print(f"{drawn} drawn, {TEST_SCENES - drawn} were there, in demo/data")

    step("2. Export: an mmsegmentation config and checkpoint become one ONNX file, compared with PyTorch")
    export = segplug(
        *("export", "onnx", CONFIG, "--checkpoint", WEIGHTS, "--output", ONNX),
        *("--shape", "256", "512", "--dynamic", "--verify", "--input-img", SCENE, "--force"),
    )

    step("3. Score: the same images, the same preprocessing, one thread, both backends")
    scoring = ("--dataset", CONFIG, "--eval", "mIoU")
    torch = segplug("infer", "pytorch", CONFIG, "--checkpoint", WEIGHTS, *scoring)
    onnx = segplug("infer", "onnxruntime", ONNX, *scoring)

    step("4. Paint: what the ONNX file sees, over the images")
    segplug("infer", "onnxruntime", ONNX, "--dataset", CONFIG, "--show-dir", f"{OUT}/painted")

    step("The result")
    summarise(export, {"PyTorch": (torch, WEIGHTS), "ONNX Runtime": (onnx, ONNX)})


def step(title: str) -> None:
    """Head a step."""
    console.print(f"\n[bold]{title}[/bold]")


def segplug(*arguments: str) -> dict[str, Any]:
    """Run ``segplug run ... --json``: its tables and progress go to the terminal, its answer comes back."""
    command = ["run", *arguments, "--json"]
    console.print(f"$ segplug {' '.join(command)}", style="cyan", markup=False, soft_wrap=True)
    done = subprocess.run(
        [sys.executable, "-m", "segplug", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.returncode)  # the command has said on stderr what is wrong
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def summarise(export: dict[str, Any], runs: dict[str, tuple[dict[str, Any], str]]) -> None:
    """One row for each backend, and where to look."""
    table = Table("backend", "mIoU", "mAcc", "aAcc", "images/s", "labels as PyTorch", "MB")
    for name, (report, file) in runs.items():
        scores = [f"{report['scores'][key]:.4f}" for key in ("mIoU", "mAcc", "aAcc")]
        agreement = f"{export['verification']['label_agreement']:.4%}" if file == ONNX else "itself"
        megabytes = f"{(ROOT / file).stat().st_size / 1e6:.2f}"
        table.add_row(name, *scores, f"{report['images_per_second']:.1f}", agreement, megabytes)
    console.print(table)
    console.print(f"the model       {ONNX}")
    console.print(f"painted images  {OUT}/painted")
    console.print("the scenes      demo/data/images/test, masks in demo/data/masks/test")


if __name__ == "__main__":
    main()
