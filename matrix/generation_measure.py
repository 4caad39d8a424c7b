"""Compare one family in both generations of mmsegmentation, print the row as JSON.

    python -m matrix.generation_measure [--trained FOLDER] OLD NEW FAMILY logits

OLD and NEW are the interpreters of the environments that have 0.30 and 1.x; this process needs neither.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matrix.families import FAMILIES, Case
from matrix.generation_rows import CHANGES, LARGEST_CHANGE, PART, GenerationRow
from matrix.rows import ROOT, reason_of

__all__ = ["compare", "side", "trained_cases", "versions"]


class SideError(Exception):
    """One side ended with an error."""


def side(interpreter: str, *arguments: str) -> dict[str, Any]:
    """What :mod:`matrix.generation_sides` prints in an environment."""
    command = [interpreter, "-m", "matrix.generation_sides", *arguments]
    # Sums depend on the number of threads.
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        raise SideError(f"{arguments[0]}: {reason_of(last)}")
    printed: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return printed


def versions(old: str, new: str) -> dict[str, str]:
    """The versions of both environments.

    Raises:
        SystemExit: they have different versions of PyTorch, which alone may change logits.
    """
    both = {"0.x": side(old, "versions"), "1.x": side(new, "versions")}
    if both["0.x"]["torch"] != both["1.x"]["torch"]:
        raise SystemExit(
            f"PyTorch {both['0.x']['torch']} and {both['1.x']['torch']}: install the same in both"
        )
    return {f"{name} ({place})": found for place, all_ in both.items() for name, found in all_.items()}


def trained_cases(folder: Path | None) -> dict[str, Case]:
    """Networks trained with 0.30: each config in a folder that has its checkpoint beside it."""
    configs = sorted(folder.glob("*.py")) if folder else ()
    return {
        f"{config.stem} (trained)": Case(config.name, size=(360, 480))
        for config in configs
        if config.with_suffix(".pth").is_file()
    }


def compare(family: str, old: str, new: str, trained: Path | None) -> GenerationRow:
    """Build and store with 0.30, load and compare with 1.x."""
    case = {**FAMILIES, **trained_cases(trained)}[family]
    size = "{}x{}".format(*case.size)
    is_trained = family not in FAMILIES
    blank: dict[str, Any] = {"cpus": os.cpu_count(), "versions": versions(old, new)}
    try:
        with tempfile.TemporaryDirectory() as folder:
            if is_trained:
                assert trained is not None
                config = trained / case.config
                stored = side(old, "old", str(config), size, folder, str(config.with_suffix(".pth")))
            else:
                stored = side(old, "old", f"{family}/{case.config}", size, folder)
            found = side(new, "new", stored.pop("config"), folder)
    except SideError as error:
        return GenerationRow(family, case.config, PART, passed=False, reason=str(error), **blank)
    is_small = found["difference"] <= LARGEST_CHANGE * found["largest_logit"]
    explained = found["equal"] or (is_small and family in CHANGES)
    reason = None if explained else f"the logits differ by {found['difference']:.1e}"
    return GenerationRow(
        family, case.config, PART, passed=explained, reason=reason, **stored, **found, **blank
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--trained", type=Path)
    parser.add_argument("family")
    parser.add_argument("part", choices=(PART,))
    return parser.parse_args()


if __name__ == "__main__":
    options = _parse()
    row = compare(options.family, options.old, options.new, options.trained)
    print(json.dumps(asdict(row)))
