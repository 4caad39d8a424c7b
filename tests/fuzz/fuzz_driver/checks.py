"""What must hold for every command, whatever it was given."""

from __future__ import annotations

import json
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fuzz_driver.cases import Case
from fuzz_driver.recipes import Output
from fuzz_driver.running import MOST_BYTES, MOST_SECONDS, Outcome

__all__ = ["faults_of", "open_outputs"]

_LONGEST_ERROR = 1000
_KEPT = frozenset(
    {
        "show_dir",
        "color",
        "format_only",
        "confidence",
        "work_dir",
        "predictions",
        "timing_cache",
        "engine_cache",
    }
)
"""Options whose files may stay when the command fails: finished images, and caches."""

_REPORTED = re.compile(rb"FAILED|NOT VERIFIED|broken|outdated|duplicate|does not fit|failures")
"""How a command that did its work, and reports a failure with exit code 1, says so."""


def faults_of(case: Case, outcome: Outcome) -> list[str]:
    """What is wrong with the way in which a command ended; empty if nothing is."""
    return [*_process(outcome), *_code(case, outcome), *_texts(case, outcome), *_files(outcome)]


def _process(outcome: Outcome) -> Iterator[str]:
    if outcome.stopped == "time":
        yield f"it takes more than {MOST_SECONDS:g} s"
    if outcome.stopped == "memory":
        yield f"it takes more than {MOST_BYTES / (1 << 30):g} GiB of memory"
    if outcome.left:
        yield f"it leaves {outcome.left} processes"
    if outcome.served is not None and outcome.served not in (200, 413):
        yield f"its server answers a good request with {outcome.served}"


def _code(case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.stopped in ("time", "memory"):
        return
    right = case.right_codes
    if outcome.stopped == "served":
        right = frozenset({0, 143})
    if outcome.code not in right:
        yield f"its exit code is {outcome.code}, and not {' or '.join(str(code) for code in sorted(right))}"


def _texts(case: Case, outcome: Outcome) -> Iterator[str]:
    debug = "--debug" in outcome.arguments
    both = outcome.stdout + outcome.stderr
    if not debug and (b"Traceback" in both or b"Internal error" in both or b"Exception ignored" in both):
        yield "it shows a traceback"
    for name, text in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        try:
            odd = "".join(sorted({character for character in text.decode() if _is_odd(character)}))
        except UnicodeDecodeError:
            yield f"its {name} is not UTF-8"
            continue
        if odd:
            yield f"its {name} has control characters: {odd!a}"
    lines = [line for line in outcome.stderr.decode(errors="replace").split("\n") if line.strip()]
    if lines and lines[-1].startswith("warning: stdout cannot be written"):
        lines.pop()  # said when all else is, of what could not be shown
    errors = [line for line in lines if line.startswith("error:")]
    if outcome.code in (1, 2) and "stderr full" not in case.surroundings:
        reported = outcome.code == 1 and _REPORTED.search(outcome.stdout)
        if len(errors) != (0 if reported and not errors else 1):
            yield f"it says {len(errors)} error lines"
        elif errors and lines[-1] != errors[0] and not debug:
            yield f"its error is not its last line: {lines[-1][:200]!r} follows"
    if any(len(line) > _LONGEST_ERROR for line in errors):
        yield f"its error line has {max(len(line) for line in errors)} characters"
    if "--json" in outcome.arguments and outcome.stdout and outcome.stopped != "served":
        try:
            json.loads(outcome.stdout)
        except ValueError:
            yield "its stdout is not one JSON document"


def _is_odd(character: str) -> bool:
    """Whether a terminal would do something else than show the character."""
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") or character in "\u2028\u2029"


def _files(outcome: Outcome) -> Iterator[str]:
    done = outcome.code == 0 or (outcome.code == 1 and b"error:" not in outcome.stderr)
    done = done or b"error: stdout cannot be written" in outcome.stderr  # the work itself is done
    promised = [output for output in outcome.outputs if done or output.keeps in _KEPT]
    for path, about in outcome.before.items():
        if outcome.after.get(path) == about or _is_promised(path, promised):
            continue
        yield f"{'it changes' if path in outcome.after else 'it removes'} {path}"
    new = outcome.after.keys() - outcome.before.keys()
    for path in sorted(new):
        if path.startswith("tmp/torchinductor_"):
            continue  # PyTorch's cache of compiled programs, one for each user
        hidden = any(part.startswith(".") for part in PurePosixPath(path).parts)
        if hidden or path.startswith("tmp/") or not _is_promised(path, promised):
            yield f"it leaves {path}"
        elif not done and stat.S_ISDIR(outcome.after[path][0]) and not _has_inside(path, outcome):
            yield f"it leaves the empty folder {path}"
    if outcome.code == 0 and "--help" not in outcome.arguments and "--dry-run" not in outcome.arguments:
        for output in outcome.outputs:
            if not any(_is_promised(path, [output]) for path in outcome.after):
                yield f"it wrote no {output.path}"


def _is_promised(path: str, outputs: list[Output]) -> bool:
    """Whether a path is one of these outputs, lies in it, beside it with a longer name, or leads to it."""
    for output in outputs:
        whole = PurePosixPath("work", output.path)
        if path.startswith(str(whole.with_suffix(""))) or path in (str(parent) for parent in whole.parents):
            return True
    return False


def _has_inside(folder: str, outcome: Outcome) -> bool:
    return any(path.startswith(f"{folder}/") for path in outcome.after)


def open_outputs(*paths: str) -> None:
    """Open what a command wrote, by its suffix.

    Raises:
        Exception: a file is damaged.
    """
    for path in map(Path, paths):
        _open(path)


def _open(path: Path) -> None:
    if path.suffix == ".onnx":
        import onnx

        onnx.checker.check_model(onnx.load(path), full_check=True)
    elif path.suffix in (".pt", ".pt2", ".mar", ".npz"):
        import zipfile

        assert zipfile.ZipFile(path).testzip() is None
    elif path.suffix == ".pth":
        import torch

        torch.load(path, weights_only=True)
    elif path.suffix in (".png", ".tif"):
        import cv2

        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None
    elif path.suffix == ".json":
        json.loads(path.read_text())
    else:
        assert path.stat().st_size > 0
