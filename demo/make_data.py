"""Draw the demo's data set of street scenes. Nothing is downloaded.

    python demo/make_data.py                  20 test scenes in demo/data
    python demo/make_data.py --train 300      and the training scenes for demo/train.py

A scene depends only on its split and number. So the test scenes are the same on every machine with the same
library versions, and differ from the training scenes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
from scenes import draw_scene

DATA = Path(__file__).resolve().parent / "data"
TEST_SCENES = 20
SPLITS = {"test": 1, "train": 2}
"""The first part of a scene's seed; its number is the second."""


def write_split(root: Path, split: str, count: int) -> int:
    """Write the scenes of ``split`` that do not exist yet; returns their number."""
    images, masks = root / "images" / split, root / "masks" / split
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    written = 0
    for number in range(count):
        name = f"{number:04d}.png"
        if (images / name).exists() and (masks / name).exists():
            continue
        image, labels = draw_scene((SPLITS[split], number))
        cv2.imwrite(str(images / name), image[:, :, ::-1])
        cv2.imwrite(str(masks / name), labels)
        written += 1
    return written


def main() -> None:
    """Write the scenes that the command line asks for."""
    parser = argparse.ArgumentParser(description="write the demo's street scenes")
    parser.add_argument("--test", type=int, default=TEST_SCENES, help="number of test scenes")
    parser.add_argument("--train", type=int, default=0, help="number of training scenes")
    parser.add_argument("--root", type=Path, default=DATA, help="folder to write to")
    args = parser.parse_args()
    for split, count in (("test", args.test), ("train", args.train)):
        print(f"{split}: {write_split(args.root, split, count)} new scenes in {args.root / 'images' / split}")


if __name__ == "__main__":
    main()
