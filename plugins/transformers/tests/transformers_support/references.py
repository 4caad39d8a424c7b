"""What transformers itself says of images, and which pixels of that are sure.

Run as a program, it asks transformers where torchvision is imported first, so that transformers has the
processors that use it: ``python -m transformers_support.references IMAGES.npz RESULTS.npz FOLDER...``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from proof_support.references import Image, Reference

__all__ = ["references_of_pillow", "references_of_torchvision"]


def references_of_pillow(folder: Path, images: Sequence[Image]) -> list[Reference]:
    """Ask transformers, with the processor that uses Pillow."""
    from matrix import transformers_zoo

    return [Reference(*transformers_zoo.reference(folder, image)) for image in images]


def references_of_torchvision(jobs: Mapping[Path, Sequence[Image]]) -> dict[Path, list[Reference]]:
    """Ask transformers, with the processor that uses torchvision, about the images of each folder."""
    with tempfile.TemporaryDirectory() as scratch:
        given, found = Path(scratch) / "images.npz", Path(scratch) / "results.npz"
        folders = list(jobs)
        arrays = {
            f"{place}/{number}": image
            for place, folder in enumerate(folders)
            for number, image in enumerate(jobs[folder])
        }
        np.savez(given, **arrays)  # type: ignore[arg-type]
        tests, root = Path(__file__).parents[1], Path(__file__).parents[4]
        paths = [str(tests), str(root), str(root / "tests" / "proof")]
        command = [sys.executable, "-m", "transformers_support.references", str(given), str(found)]
        subprocess.run(
            [*command, *map(str, folders)],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"},
        )
        with np.load(found) as results:
            return {
                folder: [
                    Reference(results[f"labels/{place}/{number}"], results[f"scores/{place}/{number}"])
                    for number in range(len(jobs[folder]))
                ]
                for place, folder in enumerate(folders)
            }


def _main(given: Path, found: Path, *folders: Path) -> None:
    from transformers_support.torchvision import functions

    functions()  # before transformers, which looks for torchvision once
    from matrix import transformers_zoo

    results = {}
    with np.load(given) as images:
        for key, image in images.items():
            folder = folders[int(key.split("/")[0])]
            labels, scores = transformers_zoo.reference(folder, image, "torchvision")
            results[f"labels/{key}"], results[f"scores/{key}"] = labels, scores
    np.savez(found, **results)


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
