"""The journal of a run: it lists the images that are done, so that an interrupted run can be resumed.

The journal lies in the user's state folder (on Linux ``$XDG_STATE_HOME/segplug/runs``, by default
``~/.local/state/segplug/runs``), in a folder named by the run's fingerprint: artifact, data set, sinks and
every setting that changes results. A line is written after all sinks have finished with an image. It also
holds the size and the time of the files that the image was read from: if they have changed, the image is
computed again. The folder is removed when the run succeeds, or when it was not resumed for a month.

Each line begins with a hash of its content and of the line before it. What is cut off, changed, repeated or
from another journal has another hash; from there on the images are computed again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec

from segplug.locks import Lock, lock_path
from segplug.progress import Reporter
from segplug.text import counted

__all__ = ["Entry", "Journal", "fingerprint_of", "state_folder"]

_VERSION = 3

_LONGEST_LINE = 64 << 20
"""Bytes of one image's entry, at most: a damaged journal may have no line ends."""

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
        images: The number of its images.
        resume: Continue an earlier journal of this fingerprint; otherwise it is replaced.
        reporter: Gets the warnings.
    """

    def __init__(self, fingerprint: str, *, images: int, resume: bool, reporter: Reporter) -> None:
        self.done: dict[int, Entry] = {}
        """The entries of the images that an earlier run finished, by the image's index."""
        self.spool: Path | None = None
        """A folder that exists as long as the journal, for results that are packed at the end."""
        self._reporter = reporter
        self._images = images
        self._file: IO[bytes] | None = None
        self._lock: Lock | None = None
        self._hash = ""
        self._is_empty = True
        self._finished: set[int] = set()
        self._folder = state_folder() / fingerprint[:32]
        _prune(self._folder)
        try:
            self._open(fingerprint, resume=resume)
        except OSError as error:
            self._give_up(error)
        except BaseException:
            self.close(finished=False)
            raise

    def _open(self, fingerprint: str, *, resume: bool) -> None:
        self._lock = self._locked()
        if self._lock is None:
            self._reporter.warn(
                "the same run is going on in another process or thread: this one cannot be resumed"
            )
            return
        self._file = _open_file(self._folder / "journal.jsonl")
        self._read(fingerprint)
        if self.done and not resume:
            self.done.clear()
            self._reporter.note(
                "an interrupted run is started again from its first image; --resume would continue it"
            )
        if not self.done:
            self._restart(fingerprint)
        self._finished = set(self.done)
        spool = self._folder / "spool"
        spool.mkdir(exist_ok=True)
        self.spool = spool

    def _locked(self) -> Lock | None:
        """The lock of the journal's folder, which is made; ``None``: another process or thread holds it."""
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                return _lock_of(self._folder)
            except FileNotFoundError:  # another process has removed the folder
                continue

    def _read(self, fingerprint: str) -> None:
        """Read an earlier journal, up to its last good line, and cut off the rest."""
        assert self._file is not None
        self._file.seek(0)
        good, line = 0, b""
        while line := self._file.readline(_LONGEST_LINE):
            content = _content(line, self._hash)
            if content is None or (good == 0 and content != _header(fingerprint)):
                break
            if good > 0:
                found = _entry(content)
                if found is None or found.index >= self._images:
                    break
                self.done[found.index] = Entry(found.notes, found.files, found.nonfinite)
            self._hash = _hash(line)
            good += len(line)
        if line.endswith(b"\n"):  # else it was being written when the process was killed
            self._reporter.note(
                "the journal of the interrupted run is damaged after "
                f"{counted(len(self.done), 'image')}: the others "
                "are computed again"
            )
        self._file.truncate(good)
        self._file.seek(0, os.SEEK_END)
        self._is_empty = not self.done

    def _restart(self, fingerprint: str) -> None:
        assert self._file is not None
        shutil.rmtree(self._folder / "spool", ignore_errors=True)
        self._file.truncate(0)
        self._hash, self._is_empty = "", True
        self._write(_header(fingerprint))

    def append(self, index: int, entry: Entry) -> None:
        """Note that image ``index`` is done; a resumed run finds the entry in ``done``."""
        if self._file is None:
            return
        try:
            line = {"index": index, "notes": entry.notes, "files": entry.files}
            self._write(line | ({"nonfinite": entry.nonfinite} if entry.nonfinite else {}))
            self._is_empty = False
            self._finished.add(index)
        except OSError as error:
            self._give_up(error)

    def how_to_go_on(self) -> str:
        """How a run that ends now can be continued; empty: no image is done, or it cannot be."""
        if self._file is None or not self._finished:
            return ""
        if len(self._finished) == self._images:
            return "all images are done: --resume writes what is missing"
        done = f"{len(self._finished)} of {counted(self._images, 'image')}"
        return f"{done} done: --resume goes on with the others"

    def _write(self, content: Mapping[str, Any]) -> None:
        assert self._file is not None
        line = _line(content, self._hash)
        self._file.write(line)
        self._file.flush()
        self._hash = _hash(line)

    def _give_up(self, error: OSError) -> None:
        self._close_file()
        self._reporter.warn(
            f"the run's journal in {self._folder} cannot be written ({error.strerror or error}): "
            "if the run is interrupted, it cannot be resumed"
        )

    def close(self, *, finished: bool) -> None:
        """Close the journal; remove it if the run is finished, or if no image was."""
        self._close_file()
        if self._lock is not None:
            if finished or self._is_empty:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.release()

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk again: the run itself goes on
                self._file.close()
            self._file = None


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """What the line of an image must hold, without its hash."""

    index: Annotated[int, msgspec.Meta(ge=0)]
    notes: dict[str, dict[str, Any]]
    files: list[list[int] | None]
    nonfinite: Annotated[int, msgspec.Meta(ge=0)] = 0


_DIGITS = 32
_BEGINNING, _MIDDLE = b'{"hash":"', b'",'
"""A line is JSON: the hash as its first member, then the content."""


def _header(fingerprint: str) -> dict[str, Any]:
    return {"fingerprint": fingerprint}


def _line(content: Mapping[str, Any], before: str) -> bytes:
    """A line with the hash of its content and of the line ``before``, whose hash is given."""
    text = json.dumps(content, separators=(",", ":")).encode()[1:]
    return b"".join((_BEGINNING, _digest(before, text), _MIDDLE, text, b"\n"))


def _digest(before: str, text: bytes) -> bytes:
    return hashlib.sha256(before.encode() + text).hexdigest()[:_DIGITS].encode()


def _hash(line: bytes) -> str:
    return line[len(_BEGINNING) : len(_BEGINNING) + _DIGITS].decode("ascii")


def _content(line: bytes, before: str) -> Any:
    """What a line holds besides its hash; ``None``: it is cut off, or it does not follow the line before."""
    start = len(_BEGINNING) + _DIGITS + len(_MIDDLE)
    text = line[start:-1]
    if line != b"".join((_BEGINNING, _digest(before, text), _MIDDLE, text, b"\n")):
        return None
    try:
        return json.loads(b"{" + text)
    except (ValueError, RecursionError):
        return None


def _entry(content: Any) -> _Line | None:
    try:
        return msgspec.convert(content, _Line)
    except (msgspec.ValidationError, RecursionError):
        return None


def _open_file(path: Path) -> IO[bytes]:
    """Open a journal to read and append; a pipe, a device or a link at its place is an error."""
    more = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    flags = sum(getattr(os, name, 0) for name in more)
    number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | flags, 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return open(number, "r+b")


def _prune(own: Path) -> None:
    """Remove the journals of other runs that were interrupted long ago."""
    try:
        folders = list(state_folder().iterdir())
    except OSError:  # there are none, or opening the own journal reports what is wrong
        return
    for folder in folders:
        with contextlib.suppress(OSError):
            age = time.time() - _last_change(folder)
            if folder != own and age > _MAX_AGE and (lock := _lock_of(folder)):
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()


def _last_change(folder: Path) -> float:
    journal = folder / "journal.jsonl"
    return (journal if journal.exists() else folder).lstat().st_mtime


def _lock_of(folder: Path) -> Lock | None:
    return lock_path(folder / "lock", wait=False, make=True)
