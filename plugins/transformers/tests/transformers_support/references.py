"""What transformers itself says of images, and which pixels of that are sure.

Run as a program, it does the same where torchvision is imported before transformers, which then has the
processors that use it: ``python -m transformers_support.references FOLDER IMAGES.npz RESULTS.npz``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["NEAR", "Reference", "find_references"]

NEAR = 1e-4
"""Two largest scores are nearly equal if they differ by less than this, of the largest score of the image."""


@dataclass(frozen=True)
class Reference:
    """What transformers says of an image."""

    labels: npt.NDArray[np.int64]
    """(H, W)."""
    scores: npt.NDArray[np.float32]
    """(C, H, W)."""

    @property
    def largest(self) -> float:
        """The largest score, whatever its sign."""
        return float(np.abs(self.scores).max())

    @property
    def sure(self) -> npt.NDArray[np.bool_]:
        """(H, W): where the two largest scores are not nearly equal."""
        second, first = np.sort(self.scores, axis=0)[-2:]
        sure: npt.NDArray[np.bool_] = first - second > NEAR * self.largest
        return sure


def find_references(
    folder: Path, images: Sequence[npt.NDArray[np.uint8]], backend: Literal["pil", "torchvision"]
) -> list[Reference]:
    """Ask transformers about RGB images (H, W, 3)."""
    if backend == "pil":
        from matrix import transformers_zoo

        return [Reference(*transformers_zoo.reference(folder, image)) for image in images]
    with tempfile.TemporaryDirectory() as scratch:
        given, found = Path(scratch) / "images.npz", Path(scratch) / "results.npz"
        np.savez(given, *images)
        paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[4])]
        subprocess.run(
            [sys.executable, "-m", "transformers_support.references", str(folder), str(given), str(found)],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"},
        )
        with np.load(found) as results:
            return [
                Reference(results[f"labels{number}"], results[f"scores{number}"])
                for number in range(len(images))
            ]


def _main(folder: Path, given: Path, found: Path) -> None:
    from transformers_support.torchvision import functions

    functions()  # before transformers, which looks for torchvision once
    from matrix import transformers_zoo

    results = {}
    with np.load(given) as images:
        for number, image in enumerate(images.values()):
            labels, scores = transformers_zoo.reference(folder, image, "torchvision")
            results[f"labels{number}"], results[f"scores{number}"] = labels, scores
    np.savez(found, **results)


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
