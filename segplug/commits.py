"""Move several entries into a folder together, also if the process is killed on the way.

The entries lie in a temporary folder in that folder. A marker file in it says which entry goes where, and
which older ones go away. From then on, what the folders hold tells how far the moves have come: so they are
continued after a kill, and taken back after a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segplug.locks import lock_path, locked_file
from segplug.regular_files import read_regular_text

__all__ = [
    "Commit",
    "Entry",
    "State",
    "flush_file",
    "flush_folder",
    "is_unfinished",
    "locked",
    "remove_temporary",
    "reserved",
    "roll_forward",
    "state_of",
]

_MARKER = ".segplug-commit.json"
_ASIDE = "aside"
_MOVES_LOCK, _RESERVED_LOCK = ".segplug-writing-moves.lock", ".segplug-writing-reserved.lock"

State = tuple[int, int]
"""Tells an entry from another one of the same name: time of change in nanoseconds, and size in bytes."""


def state_of(path: Path) -> State | None:
    """The state of an entry, which a move does not change; ``None``: it does not exist."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@dataclass(frozen=True)
class Entry:
    """One entry of the folder that a commit changes."""

    target: str
    """Its place, relative to the folder (POSIX)."""
    new: str | None
    """What is moved there, relative to the temporary folder; ``None``: the older entry only goes away."""
    old: State | None
    """The older entry at that place; ``None``: nothing is moved aside."""
    state: State | None
    """The state of the new entry."""


@dataclass(frozen=True)
class Commit:
    """Moves from a temporary folder into the folder that it lies in. The caller holds :func:`locked`."""

    temporary: Path
    entries: Sequence[Entry]
    """In the order in which they are placed. The older ones are moved aside in the opposite order."""
    one: bool
    """Whether they are parts of one artifact, the last one being its main entry; else each is for itself."""

    def run(self) -> None:
        """Move everything. If that fails, everything is put back.

        If even that fails, the marker stays, and :func:`roll_forward` completes the moves later.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        if self._is_one_move():
            (entry,) = self.entries
            os.replace(self.temporary / str(entry.new), self._target(entry))
            flush_folder(self._target(entry).parent)
            return
        made = self._missing_folders()
        try:
            (self.temporary / _ASIDE).mkdir(exist_ok=True)
            self._write_marker()
            self._move_aside()
            self._place()
            self._end()
        except BaseException:
            with contextlib.suppress(OSError):
                self._put_back(made)
            raise

    def go_on(self) -> None:
        """Complete the moves of a process that was killed.

        What somebody wrote at one of the places in the meantime is newer, and it stays. If it is the main
        entry of an artifact, the parts that were placed already are removed: they do not belong to it.

        Raises:
            OSError: the folder cannot be written.
        """
        if self.one and self._is_overtaken():
            self._withdraw()
        else:
            self._move_aside()
            self._place(keep_newer=not self.one)
        self._end()

    def _is_one_move(self) -> bool:
        """Whether the system can do it at once: it replaces a file, but no folder that holds something."""
        if len(self.entries) != 1 or self.entries[0].new is None:
            return False
        return self.entries[0].old is None or not (self.temporary / self.entries[0].new).is_dir()

    def _write_marker(self) -> None:
        content = {"one": self.one, "entries": [asdict(entry) for entry in self.entries]}
        with open(self.temporary / _MARKER, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        flush_folder(self.temporary)

    def _move_aside(self) -> None:
        for entry in reversed(self.entries):
            target = self._target(entry)
            is_aside = os.path.lexists(self._aside(entry))  # what is there now is new, or somebody else's
            if not is_aside and entry.old is not None and state_of(target) == entry.old:
                os.replace(target, self._aside(entry))

    def _place(self, *, keep_newer: bool = False) -> None:
        for entry in self.entries:
            if entry.new is None or self._is_placed(entry):
                continue
            target = self._target(entry)
            if keep_newer and os.path.lexists(target):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.temporary / entry.new, target)

    def _end(self) -> None:
        for folder in {self._target(entry).parent for entry in self.entries}:
            flush_folder(folder)
        (self.temporary / _MARKER).unlink()

    def _put_back(self, made: Sequence[Path]) -> None:
        for entry in reversed(self.entries):
            if entry.new is not None and self._is_placed(entry):
                os.replace(self._target(entry), self.temporary / entry.new)
        for entry in self.entries:
            if os.path.lexists(self._aside(entry)):
                os.replace(self._aside(entry), self._target(entry))
        for folder in made:
            with contextlib.suppress(OSError):  # it was not made, or another process uses it by now
                folder.rmdir()
        (self.temporary / _MARKER).unlink(missing_ok=True)

    def _is_overtaken(self) -> bool:
        main = self.entries[-1]
        if self._is_placed(main) or not os.path.lexists(self._target(main)):
            return False
        return os.path.lexists(self._aside(main)) or state_of(self._target(main)) != main.old

    def _withdraw(self) -> None:
        for entry in self.entries:
            target = self._target(entry)
            if entry.new is not None and self._is_placed(entry) and state_of(target) == entry.state:
                os.replace(target, self.temporary / entry.new)

    def _missing_folders(self) -> list[Path]:
        """The folders that placing makes, the deepest first."""
        base = self.temporary.parent
        parents = {parent for entry in self.entries for parent in PurePosixPath(entry.target).parents}
        missing = [base / parent for parent in parents if not (base / parent).exists()]
        return sorted(missing, key=lambda folder: len(folder.parts), reverse=True)

    def _target(self, entry: Entry) -> Path:
        return self.temporary.parent / entry.target

    def _aside(self, entry: Entry) -> Path:
        # a number, since an entry's own name could be that of a model's file, which a server looks for
        return self.temporary / _ASIDE / str(self.entries.index(entry))

    def _is_placed(self, entry: Entry) -> bool:
        return entry.new is not None and not os.path.lexists(self.temporary / entry.new)


def is_unfinished(temporary: Path) -> bool:
    """Whether a commit from this temporary folder was begun and neither completed nor taken back."""
    return os.path.lexists(temporary / _MARKER)


def remove_temporary(temporary: Path) -> None:
    """Remove a temporary folder, unless it holds what :func:`roll_forward` needs."""
    if not is_unfinished(temporary):
        shutil.rmtree(temporary, ignore_errors=True)


def roll_forward(temporary: Path) -> None:
    """Complete the commit of a process that was killed; nothing happens if there is none.

    A marker that cannot be trusted or understood is left alone: the folder may hold older entries.

    Raises:
        OSError: the folder cannot be written, or another process was faster.
    """
    if not is_unfinished(temporary) or not _is_trusted(temporary):
        return
    with locked(temporary.parent):
        try:
            content = json.loads(read_regular_text(temporary / _MARKER))
        except ValueError:  # killed while it was written: nothing has been moved
            (temporary / _MARKER).unlink()
            return
        commit = _commit_from(content, temporary)
        if commit is not None:
            commit.go_on()


def _is_trusted(temporary: Path) -> bool:
    """Whether the marker can be followed: where everyone may write (/tmp), only one's own."""
    folder = temporary.parent.stat()
    found = temporary.lstat()
    return stat.S_ISDIR(found.st_mode) and (
        not folder.st_mode & stat.S_ISVTX or os.name != "posix" or found.st_uid == os.geteuid()
    )


def _commit_from(content: Any, temporary: Path) -> Commit | None:
    """The commit of a marker; ``None``: it was not written by this version, or leads out of the folder."""
    try:
        entries = [_entry_from(item, temporary) for item in content["entries"]]
        return Commit(temporary, entries, one=bool(content["one"])) if entries else None
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _entry_from(item: Any, temporary: Path) -> Entry:
    _check_inside(temporary.parent, item["target"])
    if item["new"] is not None:
        _check_inside(temporary, item["new"])
    return Entry(item["target"], item["new"], _state_from(item["old"]), _state_from(item["state"]))


def _state_from(item: Any) -> State | None:
    return None if item is None else (int(item[0]), int(item[1]))


def _check_inside(folder: Path, name: str) -> None:
    path = folder / PurePosixPath(name)
    if path.name in ("", "..") or not path.parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is not in {folder}")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process moves entries in ``folder``, and keep them out during the block.

    The lock is on the folder itself. Where a file system does not lock folders (NFS), it is on a hidden file
    in it, which is removed again. Where that is not possible either, there is no lock.
    """
    try:
        lock = lock_path(folder, wait=True)
    except OSError:
        with locked_file(folder / _MOVES_LOCK):
            yield
        return
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Wait until no other process has reserved ``folder``, and reserve it during the block.

    This is another lock than that of :func:`locked`, and may be held for long. It is on a hidden file in the
    folder, which is removed again.
    """
    with locked_file(folder / _RESERVED_LOCK):
        yield


def flush_file(path: Path) -> None:
    """Write a file from the system's memory to the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Write the list of a folder's entries to the disk, where the system and the file system allow it."""
    with contextlib.suppress(OSError):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
