"""The journal of a run: it lists the images that are done, so that an interrupted run can be resumed.

The journal lies in the user's state folder (on Linux ``$XDG_STATE_HOME/segplug/runs``, by default
``~/.local/state/segplug/runs``), in a folder named by the run's fingerprint: artifact, data set, sinks and
every setting that changes results. A line is written after all sinks have finished with an image. It also
holds the size and the time of the files that the image was read from: if they have changed, the image is
computed again. The folder is removed when the run succeeds, or when it was not resumed for a month.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from segplug.progress import Reporter

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["Entry", "Journal", "fingerprint_of", "state_folder"]

_VERSION = 2

_MAX_AGE = 30 * 24 * 3600
"""A run that was interrupted longer ago than this is removed. Seconds."""


@dataclass(frozen=True)
class Entry:
    """The journal's entry for an image that is done."""

    notes: Mapping[str, Any]
    """What each sink's ``consume`` returned, by the sink's key (JSON types)."""
    files: Sequence[Sequence[int] | None]
    """The states of the files it was read from: if one differs now, the image is computed again."""
    nonfinite: int = 0
    """How many pixels have scores that are not finite."""


def state_folder() -> Path:
    """The folder of all journals."""
    from platformdirs import user_state_path

    return user_state_path("segplug", appauthor=False) / "runs"


def fingerprint_of(parts: Sequence[str]) -> str:
    """SHA-256 of a list of strings, as hex digits."""
    return hashlib.sha256(json.dumps([_VERSION, *parts]).encode()).hexdigest()


class Journal:
    """The journal of one run. If the state folder cannot be written, it only warns and stays empty.

    Args:
        fingerprint: Names the run.
        resume: Continue an earlier journal of this fingerprint; otherwise it is replaced.
        reporter: Gets the warnings.
    """

    def __init__(self, fingerprint: str, *, resume: bool, reporter: Reporter) -> None:
        self.done: dict[int, Entry] = {}
        """The entries of the images that an earlier run finished, by the image's index."""
        self.spool: Path | None = None
        """A folder that exists as long as the journal, for results that are packed at the end."""
        self._reporter = reporter
        self._file: IO[bytes] | None = None
        self._lock: BaseFileLock | None = None
        self._folder = state_folder() / fingerprint[:32]
        _prune(self._folder)
        try:
            self._open(fingerprint, resume=resume)
        except OSError as error:
            self._give_up(error)

    def _open(self, fingerprint: str, *, resume: bool) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._folder)
        if self._lock is None:
            self._reporter.warn(
                "the same run is going on in another process or thread: this one cannot be resumed"
            )
            return
        self._file = open(self._folder / "journal.jsonl", "a+b")  # noqa: SIM115 (open during the whole run)
        if resume:
            self._read(fingerprint)
        elif self._file.tell() > 0:
            self._reporter.note(
                "an interrupted run is started again from its first image; --resume would continue it"
            )
        if not self.done:
            self._restart(fingerprint)
        self.spool = self._folder / "spool"
        self.spool.mkdir(exist_ok=True)

    def _read(self, fingerprint: str) -> None:
        """Read an earlier journal, up to its last complete line."""
        assert self._file is not None
        self._file.seek(0)
        good = 0
        for number, line in enumerate(self._file):
            entry = _parsed(line)
            if entry is None or (number == 0 and entry.get("fingerprint") != fingerprint):
                break
            if number > 0:
                self.done[int(entry["index"])] = Entry(
                    entry["notes"], entry["files"], entry.get("nonfinite", 0)
                )
            good += len(line)
        self._file.truncate(good)
        self._file.seek(0, os.SEEK_END)

    def _restart(self, fingerprint: str) -> None:
        assert self._file is not None
        shutil.rmtree(self._folder / "spool", ignore_errors=True)
        self._file.truncate(0)
        self._write({"fingerprint": fingerprint})

    def append(self, index: int, entry: Entry) -> None:
        """Note that image ``index`` is done; a resumed run finds the entry in ``done``."""
        if self._file is None:
            return
        try:
            line = {"index": index, "notes": entry.notes, "files": entry.files}
            self._write(line | ({"nonfinite": entry.nonfinite} if entry.nonfinite else {}))
        except OSError as error:
            self._give_up(error)

    def _write(self, entry: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def _give_up(self, error: OSError) -> None:
        self._close_file()
        self._reporter.warn(
            f"the run's journal in {self._folder} cannot be written ({error.strerror or error}): "
            "if the run is interrupted, it cannot be resumed"
        )

    def close(self, *, finished: bool) -> None:
        """Close the journal, and remove it if the run is finished."""
        self._close_file()
        if self._lock is not None:
            if finished:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.release()

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk again: the run itself goes on
                self._file.close()
            self._file = None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """One line of a journal, or ``None`` if it is incomplete or no such line."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(entry, dict) and (
        "fingerprint" in entry or {"index", "notes", "files"} <= entry.keys()
    )
    return entry if whole else None


def _prune(own: Path) -> None:
    """Remove the journals of other runs that were interrupted long ago."""
    try:
        folders = list(state_folder().iterdir())
    except OSError:  # there are none, or opening the own journal reports what is wrong
        return
    for folder in folders:
        with contextlib.suppress(OSError):
            age = time.time() - (folder / "journal.jsonl").stat().st_mtime
            if folder != own and age > _MAX_AGE and (lock := _locked(folder)):
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()


def _locked(folder: Path) -> BaseFileLock | None:
    """The lock of a journal's folder, acquired; ``None``: another process or thread holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock
