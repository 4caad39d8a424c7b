"""Scoring throughput on one ONNX file and one set of images: segplug, mmseg's deploy_test, the engine alone.

    python benchmarks/scoring.py --model fcn_m-v2-d8_480x360_camvid --copies 10 --rounds 3

With ``--graph old`` the file is that of mmseg's pytorch2onnx.py, and all three run the same graph. With
``--graph new`` it is segplug's, which deploy_test cannot read. The three run in turns within each round, so
that a change of the machine's speed affects all of them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from statistics import median

from measure import OLD_TOOL, PYTHON, data_folder, run, show

ENGINE_ALONE = """
import sys, time
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
batch = np.random.default_rng(0).normal(size=(1, 3, 360, 480)).astype(np.float32)
name = session.get_inputs()[0].name
for _ in range(5):
    session.run(None, {name: batch})
count = int(sys.argv[2])
start = time.perf_counter()
for _ in range(count):
    session.run(None, {name: batch})
print(count / (time.perf_counter() - start))
"""

DESCRIPTION = (
    *("--output-kind", "labels", "--mean", "123.675", "116.28", "103.53"),
    *("--std", "58.395", "57.12", "57.375"),
    *("--classes", "sky", "building", "pole", "road", "pavement", "tree", "signsymbol"),
    *("fence", "car", "pedestrian", "bicyclist"),
)


def main() -> None:
    """Make the file and the images, run the three in turns, print rates and ratios."""
    arguments = _arguments()
    data = data_folder()
    config = str(data / "models" / f"{arguments.model}.py")
    checkpoint = str(data / "models" / f"{arguments.model}.pth")
    with tempfile.TemporaryDirectory() as work:
        images = _copies(data / "camvid", Path(work) / "camvid", arguments.copies)
        file = f"{work}/{arguments.graph}.onnx"
        _export(arguments.graph, config, checkpoint, file)
        overrides = ("--cfg-options", f"data.test.data_root={work}/camvid")
        rates: dict[str, list[float]] = {"session.run alone": [], "segplug": [], "deploy_test.py": []}
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            rates["session.run alone"].append(
                float(run((PYTHON, "-c", ENGINE_ALONE, file, str(images))).output)
            )
            rates["segplug"].append(_segplug(arguments.graph, file, config, overrides))
            if arguments.graph == "old":
                rates["deploy_test.py"].append(_deploy_test(file, config, overrides, work))
    _print(arguments, images, rates)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fcn_m-v2-d8_480x360_camvid")
    parser.add_argument("--graph", choices=("old", "new"), default="old")
    parser.add_argument("--copies", type=int, default=10, help="copies of each of the 21 images")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _copies(source: Path, target: Path, copies: int) -> int:
    """Link the images under several names; returns the number of links."""
    for part in ("test", "testannot"):
        (target / part).mkdir(parents=True)
        for image in sorted((source / part).iterdir()):
            for number in range(copies):
                (target / part / f"{number}_{image.name}").symlink_to(image)
    return len(list((target / "test").iterdir()))


def _export(graph: str, config: str, checkpoint: str, file: str) -> None:
    if graph == "old":
        size = ("--shape", "360", "480")
        run((*OLD_TOOL, "pytorch2onnx.py", config, "--checkpoint", checkpoint, "--output-file", file, *size))
    else:
        segplug = (PYTHON, "-m", "segplug", "run", "export", "onnx", config, "--checkpoint", checkpoint)
        run((*segplug, "--output", file))


def _segplug(graph: str, file: str, config: str, overrides: tuple[str, ...]) -> float:
    described = DESCRIPTION if graph == "old" else ()
    command = (PYTHON, "-m", "segplug", "run", "infer", "onnxruntime", file, "--dataset", config)
    done = run((*command, "--eval", "mIoU", "--json", *described, *overrides))
    return float(json.loads(done.output)["images_per_second"])


def _deploy_test(file: str, config: str, overrides: tuple[str, ...], work: str) -> float:
    command = (*OLD_TOOL, "deploy_test.py", config, file, "--backend", "onnxruntime", "--eval", "mIoU")
    done = run((*command, *overrides), cwd=work)
    return float(re.findall(r"([\d.]+) task/s", done.output)[-1])


def _print(arguments: argparse.Namespace, images: int, rates: dict[str, list[float]]) -> None:
    alone = rates["session.run alone"]
    rows = []
    for name, found in rates.items():
        if found:
            shares = [ours / theirs for ours, theirs in zip(found, alone, strict=True)]
            rows.append((name, median(found), min(found), max(found), median(shares)))
    title = f"{arguments.model}, {arguments.graph} graph, {images} images, {arguments.rounds} rounds"
    show(title, ("candidate", "images/s", "lowest", "highest", "share of session.run alone"), rows)


if __name__ == "__main__":
    main()
