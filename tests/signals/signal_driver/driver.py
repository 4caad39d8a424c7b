"""Runs a case, ends it at a point, and says what is wrong with what it left."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signal_driver.cases import CASES, Case

__all__ = ["Driver"]

_LAUNCH = Path(__file__).with_name("launch.py")
_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
_LIMIT = 120
"""Seconds that a command may take, once it got a signal or not."""

Tree = dict[str, str]
"""The files of a folder: the path of each, and a hash of its content."""


@dataclass(frozen=True)
class Whole:
    """What a command does that is not disturbed."""

    tree: Tree
    said: Any
    """Its document, without times and paths."""
    events: int
    changes: Sequence[int]


@dataclass(frozen=True)
class Driver:
    """Runs cases in folders of ``root``, where ``inputs`` are."""

    root: Path
    environment: dict[str, str]
    _whole: dict[tuple[str, bool], Whole] = field(default_factory=dict)

    def check(self, name: str, number: signal.Signals, place: int, places: int) -> None:
        """End a case at one of ``places`` points, run it again, and assert that it did no harm.

        At every second point there is an older result, which the command replaces.
        """
        case = CASES[name]
        older = bool(case.older or case.older_file) and place % 2 == 1
        whole = self._undisturbed(case, older)
        at = points(whole, places)[place]
        with self._folder(f"{name}-{number.name}-{place}", case, older) as folder:
            before = tree(folder / "out")
            ended = self._run(folder, case.command, at=at, signal=number)
            about = f"{name}, {number.name} at event {at} of {whole.events}: {ended.stderr[-2000:]}"
            assert ended.returncode in (_CODES[number], 0), about
            _check_seen(case, before, whole.tree, visible(tree(folder / "out")), about)
            if number != signal.SIGKILL:
                _check_stopped(folder, case, ended, before, about)
            again = self._run(folder, (*case.command, *(["--resume"] if case.resumes else [])))
            about = f"{about}\nthen: {again.stderr[-2000:]}"
            assert again.returncode == 0, about
            assert tree(folder / "out") == whole.tree, about
            assert _without_times(json.loads(again.stdout)) == whole.said, about
            assert left_in(folder) == [], about

    def _undisturbed(self, case: Case, older: bool) -> Whole:
        if (case.name, older) not in self._whole:
            with self._folder(f"{case.name}-whole-{older}", case, older) as folder:
                done = self._run(folder, case.command, log=str(folder / "log"))
                assert done.returncode == 0, done.stderr
                log = json.loads((folder / "log").read_text(encoding="utf-8"))
                said = _without_times(json.loads(done.stdout))
                self._whole[case.name, older] = Whole(
                    tree(folder / "out"), said, log["events"], log["changes"]
                )
        return self._whole[case.name, older]

    def _folder(self, name: str, case: Case, older: bool) -> _Folder:
        folder = _Folder(self.root / name.replace(" ", "-"))
        for part in ("out", "tmp", case.makes):
            (folder.path / part).mkdir(parents=True, exist_ok=True)
        if older and case.older_file:
            shutil.copyfile(self.root / "inputs" / "other.onnx", folder.path / "out" / case.older_file)
        elif older:
            done = self._run(folder.path, case.older)
            assert done.returncode == 0, done.stderr
        return folder

    def _run(self, folder: Path, command: Sequence[str], **plan: Any) -> subprocess.CompletedProcess[str]:
        own = {
            "TMPDIR": str(folder / "tmp"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [sys.executable, str(_LAUNCH), json.dumps({"roots": [str(folder)], **plan}), *command],
            cwd=folder,
            env={**os.environ, **self.environment, **own},
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )


@dataclass(frozen=True)
class _Folder:
    """The working folder of one case, which is removed if nothing was wrong."""

    path: Path

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            shutil.rmtree(self.path)


def points(whole: Whole, number: int) -> list[int]:
    """Events at which to end: half before changes of files, the others evenly after the first change."""
    changes = _evenly(whole.changes, number // 2)
    others = _evenly(range(whole.changes[0], whole.events), number - len(changes))
    return sorted([*changes, *others])


def _evenly(values: Sequence[int], number: int) -> list[int]:
    number = min(number, len(values))
    return [values[place * len(values) // number] for place in range(number)]


def _check_seen(case: Case, before: Tree, after: Tree, found: Tree, about: str) -> None:
    """Readers see the older result, the new one, or a part of one of them that nobody opens."""
    if found in (before, after):
        return
    states = [state for state in (before, after) if found.items() <= state.items()]
    assert states, f"{about}: {found}"
    assert case.resumes or (case.main and case.main not in found), f"{about}: {found}"


def _check_stopped(
    folder: Path, case: Case, ended: subprocess.CompletedProcess[str], before: Tree, about: str
) -> None:
    """A command that was asked to end says so in one line, and leaves nothing that is half done."""
    assert "Traceback" not in ended.stderr, about
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert errors == ([] if ended.returncode == 0 else ["error: interrupted"]), about
    left = [name for name in left_in(folder) if not (case.resumes and name.startswith("state/"))]
    assert left == [], about


def tree(folder: Path) -> Tree:
    """All files, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def visible(files: Tree) -> Tree:
    """The files that are not hidden, and not in hidden folders."""
    return {
        name: digest for name, digest in files.items() if not any(p.startswith(".") for p in name.split("/"))
    }


def left_in(folder: Path) -> list[str]:
    """What segplug has left outside the results: hidden entries, temporary files, journals, locks."""
    hidden = (path for path in (folder / "out").rglob(".*"))
    temporary = (folder / "tmp").glob("*segplug*")
    own = (
        path
        for name in ("state", "cache")
        for path in (folder / name / "segplug").rglob("*")
        if path.is_file()
    )
    return sorted(path.relative_to(folder).as_posix() for path in (*hidden, *temporary, *own))


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix in (".mar", ".npz"):  # their members have times
        content = b"".join(_members(content))
    return hashlib.sha256(content).hexdigest()


def _members(content: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in sorted(archive.namelist()):
            member = archive.read(name)
            if name.endswith("MANIFEST.json"):
                member = json.dumps({**json.loads(member), "createdOn": ""}).encode()
            yield name.encode() + b"\0" + member


def _without_times(said: Any) -> Any:
    """A document without what differs between two runs."""
    if isinstance(said, dict):
        differ = {
            "sha256",
            "seconds",
            "engine_seconds",
            "images_per_second",
            "resumed",
            "warnings",
            "call",
            "created",
        }
        return {key: _without_times(value) for key, value in said.items() if key not in differ}
    return [_without_times(item) for item in said] if isinstance(said, list) else said
