r"""Beside optimum-onnx: export as a whole process, and label maps of image files, end to end.

    python3.11 -m venv ENV
    ENV/bin/pip install optimum-onnx==0.1.0 transformers==4.57.6 torch==2.13.0 onnx==1.23.2 \
        onnxruntime==1.31.1 pillow scipy
    python benchmarks/optimum_export.py --optimum ENV/bin/python --rounds 3

optimum-onnx 0.1.0 cannot read transformers 5, so it has an environment of its own, and 4.57 saves the models
that both read. In each round both export each model in turns: the export alone, and with the comparison with
PyTorch that each makes, which optimum's command line always does. Then both run their files of a fixed size
on the same JPEG files and make label maps; segplug's rate includes writing them to files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from measure import PYTHON, Usage, median_of, run, show
from PIL import Image

PEER = str(Path(__file__).with_name("optimum_peer.py"))
CASES = {
    "segformer": ("semantic-segmentation", 512, True),
    "dpt": ("semantic-segmentation", 384, False),
    "maskformer": ("image-segmentation", 512, True),
}
"""The task's name for optimum, the size of the input, and whether segplug exports free sizes."""
IMAGES, HEIGHT, WIDTH = 24, 480, 640


def main() -> None:
    """Export with both in turns, run both files, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--optimum", required=True, help="the Python of the environment with optimum-onnx")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=tuple(CASES), action="append", help="default: all")
    arguments = parser.parse_args()
    exports, rates = [], []
    with tempfile.TemporaryDirectory() as work:
        images = _make_images(Path(work))
        for case in arguments.case or CASES:
            case_work = Path(work, case)
            case_work.mkdir()
            run((arguments.optimum, PEER, "make", case, f"{case_work}/model"))
            exports += _exports(case, case_work, arguments)
            rates.append(_rates(case, case_work, images, arguments))
    columns = ("case", "segplug s", "optimum s", "ratio", "CPU ratio", "segplug MB", "optimum MB", "ratio")
    show(f"export, whole process, median of {arguments.rounds}", columns, exports)
    columns = ("case", "segplug images/s", "optimum images/s", "median ratio", "equal labels")
    show(f"{IMAGES} JPEG files with {HEIGHT}x{WIDTH}, label maps, medians", columns, rates)


def _make_images(work: Path) -> Path:
    """Smooth areas with edges and noise, as photos have them."""
    random = np.random.default_rng(0)
    folder = work / "images"
    folder.mkdir()
    for number in range(IMAGES):
        areas = random.integers(0, 256, (6, 8, 3), np.uint8)
        image = cv2.resize(areas, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float64)
        noisy = np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:02d}.jpg"), noisy)
    return folder


def _exports(case: str, work: Path, arguments: argparse.Namespace) -> list[tuple[object, ...]]:
    """A row for each form of the export: the export alone, and with the comparison that each tool makes."""
    task, size, free = CASES[case]
    forms = [("fixed", "fixed size", True, False), ("compared", "fixed size, compared", True, True)]
    if free:
        forms.append(("free", "free sizes", False, False))
    rows = []
    for file, form, fixed, compared in forms:
        segplug = (PYTHON, "-m", "segplug", "run", "export", "onnx", f"{work}/model", "--force")
        segplug = (*segplug, *([] if fixed else ["--dynamic"]), *(["--verify"] if compared else []))
        optimum = (arguments.optimum, PEER, "export", task, str(size if fixed else 0), str(int(compared)))
        ours, theirs = [], []
        for number in range(arguments.rounds):
            print(f"{case}, {form}: round {number + 1} of {arguments.rounds}", file=sys.stderr)
            ours.append(run((*segplug, "--output", f"{work}/{file}.onnx")))
            theirs.append(run((*optimum, f"{work}/model", f"{work}/{file}")))
        rows.append(_row(f"{case}, {form}", ours, theirs))
    return rows


def _row(name: str, ours: Sequence[Usage], theirs: Sequence[Usage]) -> tuple[object, ...]:
    new, old = ({field: median_of(u, field) for field in ("wall", "cpu", "peak_mb")} for u in (ours, theirs))
    return (
        name,
        *(new["wall"], old["wall"], new["wall"] / old["wall"], new["cpu"] / old["cpu"]),
        *(new["peak_mb"], old["peak_mb"], new["peak_mb"] / old["peak_mb"]),
    )


def _rates(case: str, work: Path, images: Path, arguments: argparse.Namespace) -> tuple[object, ...]:
    """Rates of both, the median of the ratios, and how many labels are equal."""
    for name in ("ours", "theirs"):
        (work / name).mkdir()
    segplug = (PYTHON, "-m", "segplug", "run", "infer", "onnxruntime", f"{work}/fixed.onnx")
    segplug = (*segplug, "--dataset", str(images), "--format-only", f"{work}/ours", "--json")
    optimum = (arguments.optimum, PEER, "run", case, f"{work}/model", f"{work}/fixed", str(images))
    ours, theirs = [], []
    for number in range(arguments.rounds):
        print(f"{case}: label maps, round {number + 1} of {arguments.rounds}", file=sys.stderr)
        ours.append(float(json.loads(run(segplug).output)["images_per_second"]))
        theirs.append(float(run((*optimum, f"{work}/theirs")).output.splitlines()[-1]))
    ratio = median(new / old for new, old in zip(ours, theirs, strict=True))
    return case, median(ours), median(theirs), ratio, _agreement(work / "ours", work / "theirs")


def _agreement(ours: Path, theirs: Path) -> str:
    """The share of pixels with equal labels, in percent, and how many labels cover more than 1% of them."""
    names = [file.stem for file in sorted(theirs.iterdir())]
    old = np.stack([np.load(theirs / f"{name}.npy") for name in names])
    new = np.stack([np.asarray(Image.open(ours / f"{name}.png")) for name in names])
    common = int((np.bincount(old.ravel()) > 0.01 * old.size).sum())
    return f"{100 * float((new == old).mean()):.3f} % ({common} labels)"


if __name__ == "__main__":
    main()
