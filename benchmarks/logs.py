"""Measure memory and time of drawing curves of a large training log.

    python benchmarks/logs.py [--gb 1.0] [--compare]

It writes a log like mmcv's of the given size to a temporary folder, draws three curves of it in a process of
its own, and prints the memory and time of that process. ``--compare`` also runs mmseg's ``analyze_logs.py``
and segplug on a tenth of the log.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path

from measure import OLD_TOOL, PYTHON, run, show

VALIDATE_EVERY = 4000


def main() -> None:
    """Write the log, draw the curves, print the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=1.0, help="size of the log, 10^9 bytes")
    parser.add_argument(
        "--compare", action="store_true", help="also run the old script, on a tenth of the log"
    )
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "large.log.json"
        write_log(log, int(arguments.gb * 1e9))
        rows.append(("segplug", *measure(segplug_command(log), log)))
        if arguments.compare:
            write_log(log, int(arguments.gb * 1e8))
            rows.append(("segplug", *measure(segplug_command(log), log)))
            old = (*OLD_TOOL, "analyze_logs.py", str(log), "--keys", "loss", "mIoU", "decode.loss_ce")
            rows.append(("analyze_logs.py", *measure((*old, "--out", f"{log}.png"), log)))
    show("three curves, smoothed", ("what", "log GB", "s", "peak MB"), rows)


def segplug_command(log: Path) -> tuple[str, ...]:
    """The command that draws three curves to a picture and a page."""
    command = (PYTHON, "-m", "segplug", "run", "analyze", "logs", str(log), "--force")
    keys = ("--keys", "loss", "mIoU", "decode.loss_ce", "--smooth", "0.99")
    return (*command, *keys, "--out", f"{log}.png", "--html", f"{log}.html")


def measure(command: tuple[str, ...], log: Path) -> tuple[float, float, float]:
    """Run a command; returns the log's size in GB, its time in seconds and its peak memory in MB."""
    usage = run(command)
    return log.stat().st_size / 1e9, usage.wall, usage.peak_mb


def write_log(path: Path, size: int) -> None:
    """Write at least ``size`` bytes of training and validation lines, as mmseg writes them."""
    random.seed(0)
    iteration = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"env_info": "none", "config": "model = dict()", "seed": 0}) + "\n")
        while file.tell() < size:
            for _ in range(VALIDATE_EVERY // 50):
                iteration += 50
                file.write(json.dumps(training_line(iteration)) + "\n")
            file.write(json.dumps(validation_line(iteration)) + "\n")


def training_line(iteration: int) -> dict[str, object]:
    """One line in mmcv's order."""
    loss = random.gauss(1.0, 0.1)
    return {
        "mode": "train",
        "epoch": 1 + iteration // 744,
        "iter": iteration,
        "lr": 0.01,
        "memory": 8192,
        "data_time": 0.00612,
        "decode.loss_ce": round(loss * 0.7, 5),
        "decode.acc_seg": 82.33721,
        "aux.loss_ce": round(loss * 0.3, 5),
        "aux.acc_seg": 80.12345,
        "loss": round(loss, 5),
        "time": 0.32116,
    }


def validation_line(iteration: int) -> dict[str, object]:
    """One line of scores; ``iter`` is the number of images."""
    scores = {"aAcc": 0.95, "mIoU": 0.7, "mAcc": 0.8, "IoU.road": 0.97}
    return {"mode": "val", "epoch": 1 + iteration // 744, "iter": 500, "lr": 0.01, **scores}


if __name__ == "__main__":
    main()
