"""Run the main job as a user does on the command line: export, verify, score, paint. Then write a page of it.

Each step says what it does, prints its command, and says how long it took. All commands run in the
repository's root.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from make_data import TEST_SCENES, write_split
from page import Backend, Job, Step, summary, write_page
from rich.console import Console
from rich.table import Table

from segplug.reports.cells import cell_text

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "demo/config.py"
WEIGHTS = "demo/weights.pth"
OUT = "demo/out"
ONNX = f"{OUT}/model.onnx"
PAGE = f"{OUT}/index.html"
SCENES = "demo/data/images/test"
STEPS = 6

console = Console(highlight=False)


def main() -> None:
    """Run the steps, and say where the page is and what to try next."""
    os.chdir(ROOT)
    Path(OUT).mkdir(parents=True, exist_ok=True)
    done: list[Step] = []
    scoring = ("--dataset", CONFIG, "--eval", "mIoU")

    with step(done, f"Data: draw {TEST_SCENES} street scenes and their masks") as commands:
        commands.append(f"{python()} demo/make_data.py")
        drawn = write_split(ROOT / "demo" / "data", "test", TEST_SCENES)
        console.print(f"{drawn} drawn, {TEST_SCENES - drawn} were there already, in demo/data")

    with step(done, "Export: config and checkpoint to one ONNX file, compared with PyTorch") as commands:
        export = segplug(
            commands,
            *("export", "onnx", CONFIG, "--checkpoint", WEIGHTS, "--output", ONNX, "--shape", "256", "512"),
            *("--dynamic", "--verify", "--input-img", f"{SCENES}/0000.png", "--force"),
        )

    with step(done, "Score with PyTorch: the checkpoint on all scenes") as commands:
        torch = segplug(commands, "infer", "pytorch", CONFIG, "--checkpoint", WEIGHTS, *scoring)

    with step(done, "Score with ONNX Runtime: the same scenes, the same preprocessing") as commands:
        onnx = segplug(commands, "infer", "onnxruntime", ONNX, *scoring)

    with step(done, "Paint: the labels of the ONNX file over the scenes, beside the truth") as commands:
        segplug(
            commands,
            *("infer", "onnxruntime", ONNX, "--dataset", CONFIG, "--show-dir", f"{OUT}/painted"),
            *("--show-parts", "image", "truth", "prediction", "difference", "--legend", "below"),
            *("--color", f"{OUT}/labels"),
        )

    backends = (Backend("PyTorch", torch, Path(WEIGHTS)), Backend("ONNX Runtime", onnx, Path(ONNX)))
    with step(done, f"Page: {PAGE}"):
        job = Job(tuple(done), export["verification"], backends, Path(ONNX), Path(SCENES), program())
        write_page(job, Path(PAGE), labels=Path(OUT, "labels"))

    report(job)


def report(job: Job) -> None:
    """Print the scores, where the page is, and what to try next."""
    scores = summary(job)
    table = Table(*scores.columns, title="The result", title_justify="left", title_style="bold")
    for row in scores.rows:
        table.add_row(*(cell_text(value) for value in row))
    console.print()
    console.print(table)
    agreement = job.verification["label_agreement"]
    console.print(f"{agreement:.4%} of the labels are those of PyTorch, on inputs of several sizes.")
    console.print(f"\nThis page shows all of it, and what to try next: [bold]{PAGE}[/bold]", soft_wrap=True)
    console.print("Try the model. Any image will do:")
    for command in job.next_commands:
        console.print(f"    {command}", style="cyan", markup=False, soft_wrap=True)


@contextmanager
def step(done: list[Step], title: str) -> Iterator[list[str]]:
    """Say what is done, and the seconds at the end; gives a list for the commands of the step."""
    console.print(f"\n[bold][{len(done) + 1}/{STEPS}] {title}[/bold]")
    began = time.monotonic()
    commands: list[str] = []
    yield commands
    seconds = time.monotonic() - began
    console.print(f"{seconds:.1f} s", style="dim")
    done.append(Step(title, tuple(commands), seconds))


def python() -> str:
    """This Python, as a user types it in the repository's root."""
    path = Path(sys.executable)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def program() -> str:
    """The command ``segplug`` of this Python's environment, in the same way."""
    return str(Path(python()).with_name("segplug"))


def segplug(commands: list[str], *arguments: str) -> dict[str, Any]:
    """Run ``segplug ... --json``; returns its JSON. Tables and progress go to the terminal.

    The command is printed, and added to ``commands``, as a user types it: without ``--json``.
    """
    commands.append(" ".join((program(), *arguments)))
    console.print(f"$ {commands[-1]}", style="cyan", markup=False, soft_wrap=True)
    child = subprocess.Popen(
        [sys.executable, "-m", "segplug", *arguments, "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        answer, _ = child.communicate()
    except KeyboardInterrupt:
        child.terminate()  # no harm if the interrupt has reached it already
        child.communicate()
        if child.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            sys.exit(child.returncode)  # it has said that it was interrupted
        raise
    if child.returncode != 0:
        sys.exit(child.returncode)  # the command has printed the error
    result: dict[str, Any] = json.loads(answer)
    return result
