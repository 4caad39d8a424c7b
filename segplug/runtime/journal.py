"""What lets an interrupted run go on: one line for each image that is wholly done.

The journal of a run lies in ``$XDG_STATE_HOME/segplug/runs`` (``~/.local/state/segplug/runs``), in a
folder named by the run's fingerprint: artifact, data set, sinks and every setting that changes
results. A line is written after all sinks have finished with an image, so that a line means "done",
whatever ended the process. It also holds the size and the time of the files that the image was read
from: an image whose files changed since is not done. The folder is removed when the run succeeds, and
when nobody has gone on with the run for a month.
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
from typing import IO, Any

from segplug.progress import Reporter

__all__ = ["Entry", "Journal", "fingerprint_of", "state_folder"]

_VERSION = 2

_KEPT = 30 * 24 * 3600
"""Seconds after which a run that nobody resumed is given up."""


@dataclass(frozen=True)
class Entry:
    """What the journal holds of an image that is done."""

    notes: Mapping[str, Any]
    """What each sink noted, by its key (JSON types)."""
    files: Sequence[Sequence[int] | None]
    """The states of the files it was read from: another state, and it is to be done again."""


def state_folder() -> Path:
    """Where journals lie."""
    home = os.environ.get("XDG_STATE_HOME")
    base = Path(home) if home else Path.home() / ".local" / "state"
    return base / "segplug" / "runs"


def fingerprint_of(parts: Sequence[str]) -> str:
    """SHA-256 over strings, hex digits; no two different lists are mistaken for each other."""
    return hashlib.sha256(json.dumps([_VERSION, *parts]).encode()).hexdigest()


class Journal:
    """The journal of one run. Where the state folder cannot be written, it only warns and stays empty.

    Args:
        fingerprint: Names the run.
        resume: Go on with an earlier journal of this fingerprint; otherwise it is replaced.
        reporter: Where warnings go.
    """

    def __init__(self, fingerprint: str, *, resume: bool, reporter: Reporter) -> None:
        self.done: dict[int, Entry] = {}
        """What an earlier run noted of each image that it finished, by the image's index."""
        self.spool: Path | None = None
        """A folder that lives as long as the journal, for results that are packed at the end."""
        self._reporter = reporter
        self._file: IO[bytes] | None = None
        self._ours = False
        self._folder = state_folder() / fingerprint[:32]
        _prune(self._folder)
        try:
            self._open(fingerprint, resume=resume)
        except OSError as error:
            self._give_up(error)

    def _open(self, fingerprint: str, *, resume: bool) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "journal.jsonl"
        file = open(path, "a+b")  # noqa: SIM115 (open for as long as the run)
        if not _lock(file):
            file.close()
            self._reporter.warn(
                "the same run is going on in another process or thread: this one cannot be resumed"
            )
            return
        self._file, self._ours = file, True
        if resume:
            self._read(fingerprint)
        elif file.tell() > 0:
            self._reporter.note("an interrupted run starts anew; --resume would have gone on with it")
        if not self.done:
            self._restart(fingerprint)
        self.spool = self._folder / "spool"
        self.spool.mkdir(exist_ok=True)

    def _read(self, fingerprint: str) -> None:
        """Take over an earlier journal, up to its last whole line."""
        assert self._file is not None
        self._file.seek(0)
        good = 0
        for number, line in enumerate(self._file):
            entry = _parsed(line)
            if entry is None or (number == 0 and entry.get("fingerprint") != fingerprint):
                break
            if number > 0:
                self.done[int(entry["index"])] = Entry(entry["notes"], entry["files"])
            good += len(line)
        self._file.truncate(good)
        self._file.seek(0, os.SEEK_END)

    def _restart(self, fingerprint: str) -> None:
        assert self._file is not None
        shutil.rmtree(self._folder / "spool", ignore_errors=True)
        self._file.truncate(0)
        self._write({"fingerprint": fingerprint})

    def append(self, index: int, entry: Entry) -> None:
        """Note that image ``index`` is done; the entry comes back when the run resumes."""
        if self._file is None:
            return
        try:
            self._write({"index": index, "notes": entry.notes, "files": entry.files})
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
        if finished and self._ours:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk again: the run itself goes on
                self._file.close()
            self._file = None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """One line of a journal, or ``None`` if it is torn or was never one."""
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


def _prune(ours: Path) -> None:
    """Remove the journals of other runs that were given up long ago."""
    try:
        folders = list(state_folder().iterdir())
    except OSError:  # there are none, or opening our own says what is wrong
        return
    for folder in folders:
        journal = folder / "journal.jsonl"
        with contextlib.suppress(OSError):
            if folder != ours and time.time() - journal.stat().st_mtime > _KEPT:
                with open(journal, "r+b") as file:
                    if _lock(file):
                        shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[bytes]) -> bool:
    """Whether the journal is ours alone. Where there are no locks, we trust that it is."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
