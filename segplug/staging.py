"""Keep what a hook makes out of sight until everything has agreed, then show all its parts together.

A stage is a temporary folder beside the destination (:mod:`segplug.files`). A hook writes into it, and
:meth:`Stage.commit` moves what it wrote to its place (:mod:`segplug.commits`). A reader finds the older
artifact whole, the new one whole, or for a moment none, but never parts of both.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from segplug.commits import (
    Commit,
    Entry,
    flush_file,
    flush_folder,
    locked,
    remove_temporary,
    reserved,
    state_of,
)
from segplug.errors import ArtifactError, SegplugError, UsageError
from segplug.files import (
    cannot_write,
    ensure_free,
    ensure_free_folder,
    ensure_replaceable_folder,
    making_parents,
)
from segplug.temporary import PREFIX, remove_abandoned, temporary_folder

__all__ = ["Stage", "recover", "stage_file", "stage_folder"]

_NEW, _MODELS = "new", "models"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


@dataclass(frozen=True)
class Stage:
    """The place of an artifact until it is finished; :func:`stage_file` and :func:`stage_folder` make it."""

    output: Path
    """Where the hook writes: an absolute path in the stage."""
    destination: Path
    """Where it will lie."""
    _root: Path
    """Everything in it is moved, to the same place in the folder ``_base``."""
    _base: Path
    _temporary: Path
    _started_in: Path
    """The working folder when the stage was made, since a hook may change it."""
    _force: bool
    _inputs: tuple[Path, ...]
    """Files that are not replaced or removed, whatever their names."""
    _shared_levels: int | None
    """As in :func:`stage_folder`; ``None``: the stage of a file."""

    def names(self) -> tuple[str, ...]:
        """Every regular file in the stage, as a relative POSIX path: the main file first, then sorted.

        Paths are relative to the folder of ``output`` for :func:`stage_file`, and to ``output`` for
        :func:`stage_folder`. If the artifact is a folder, its files come before those beside it.
        """
        files = [path for path in self._contents() if stat.S_ISREG(path.lstat().st_mode)]
        ordered = sorted(files, key=lambda path: (not self._is_main(path), self._name(path)))
        return tuple(self._name(path) for path in ordered)

    def shared_names(self) -> frozenset[str]:
        """The staged files that versions of a model share, and that are at their place already."""
        if not self._shared_levels:
            return frozenset()
        shared = [unit for unit in self._units() if unit.is_file() and unit.parent != self._root]
        return frozenset(self._name(unit) for unit in shared if (self._base / self._name(unit)).is_file())

    def commit(self, *, older: Iterable[Path] = (), main: str | None = None) -> None:
        """Move everything in the stage to its place, together; if that fails, nothing has changed.

        Args:
            older: Parts of the artifact that is replaced. They are replaced without ``force``, and removed if
                the new artifact has no part of that name. One outside the destination's folder stays. The
                paths are read when no other process commits, so a generator finds the last one's parts.
            main: The name of the main file, if a hook has chosen another one than that of ``output``.

        Raises:
            UsageError: something is at a part's place that may not be replaced, or an input is.
            ArtifactError: nothing was written, it holds a link or a device, the disk is full, or the folder
                cannot be written.
        """
        if main is not None and main != self.output.name:
            output, destination = self.output.with_name(main), self.destination.with_name(main)
            replace(self, output=output, destination=destination).commit(older=older)
            return
        try:
            self._check()
            self._flush()
            with locked(self._base):
                removed = self._to_remove(older)
                entries = [*self._entries_to_remove(removed), *self._entries_to_place(removed)]
                self._refuse_inputs(entries)
                Commit(self._temporary, entries, one=self._shared_levels is None).run()
        except OSError as error:
            raise cannot_write(self.destination, error) from error
        remove_temporary(self._temporary)

    def _check(self) -> None:
        is_empty = not os.path.lexists(self.output) if self._shared_levels is None else not self.names()
        if is_empty:
            raise ArtifactError(f"nothing was written for {self.destination}")
        for path in self._contents():
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ArtifactError(
                    f"{self._name(path)}, written for {self.destination}, is neither a file nor a folder"
                )

    def _flush(self) -> None:
        for path in self._contents():
            if path.is_dir():
                flush_folder(path)
            else:
                flush_file(path)
        flush_folder(self._root)

    def _to_remove(self, older: Iterable[Path]) -> list[Path]:
        """The older parts that lie in the folder: what an artifact names elsewhere may be another's."""
        base = self._base.resolve()
        paths = [self._started_in / path for path in older]
        resolved = [path.parent.resolve() / path.name for path in paths if path.name not in ("", "..")]
        return [self._base / path.relative_to(base) for path in resolved if base in path.parents]

    def _entries_to_remove(self, removed: Iterable[Path]) -> Iterator[Entry]:
        placed = {self._base / self._name(unit) for unit in self._units()}
        paths = {path for path in removed if not placed.intersection([path, *path.parents])}
        for path in sorted(paths - {path for path in paths if paths.intersection(path.parents)}):
            if (old := state_of(path)) is not None:
                yield Entry(path.relative_to(self._base).as_posix(), None, old, None)

    def _entries_to_place(self, removed: Iterable[Path]) -> Iterator[Entry]:
        """Entries of what may be placed: folders, then files, and the main entry last."""
        known = set(removed)
        units = sorted(
            self._units(), key=lambda unit: (self._is_main(unit), unit.is_file(), self._name(unit))
        )
        for unit in units:
            name = self._name(unit)
            target = self._base / name
            goes_with_folder = not known.isdisjoint(target.parents)
            if not goes_with_folder:
                is_older = target in known and not self._is_main(unit)
                # What versions of a model share, such as a configuration, changes when one is added.
                is_shared = bool(self._shared_levels) and unit.is_file() and unit.parent != self._root
                self._check_target(unit, target, force=self._force or is_older or is_shared)
            old = None if goes_with_folder else state_of(target)
            yield Entry(name, unit.relative_to(self._temporary).as_posix(), old, state_of(unit))

    def _refuse_inputs(self, entries: Iterable[Entry]) -> None:
        """Check that no entry replaces or removes an input, or a folder with one in it."""
        inputs = [(self._started_in / path).resolve() for path in self._inputs]
        files = {file_id for path in inputs if (file_id := _file_id(path)) is not None}
        for entry in entries:
            target = self._base / entry.target
            if _file_id(target) in files or any(target.resolve() in (path, *path.parents) for path in inputs):
                raise UsageError(f"{target} is an input: it is not written over", hint="name another output")

    def _check_target(self, unit: Path, target: Path, *, force: bool) -> None:
        between = [folder for folder in target.parents if self._base in folder.parents]
        for folder in reversed(between):
            if os.path.lexists(folder):
                ensure_free_folder(folder, force=True)
        if os.path.lexists(target):
            check = ensure_replaceable_folder if unit.is_dir() else ensure_free
            check(target, force=force)

    def _units(self) -> Iterator[Path]:
        """What is moved as a whole."""
        if self._shared_levels is not None:
            yield from self._units_in(self._root, self._shared_levels)
            return
        yield self.output
        for path in self._contents():
            if path.is_file() and not self._is_main(path):
                yield path

    def _units_in(self, folder: Path, shared_levels: int) -> Iterator[Path]:
        for path in folder.iterdir():
            target = self._base / self._name(path)
            if shared_levels and path.is_dir() and target.is_dir():
                ensure_free_folder(target, force=True)  # a link to a folder, which may lie anywhere
                yield from self._units_in(path, shared_levels - 1)
            else:
                yield path

    def _contents(self) -> Iterator[Path]:
        for folder, folders, files in os.walk(self._root):
            yield from (Path(folder, name) for name in (*folders, *files))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _is_main(self, path: Path) -> bool:
        return self._shared_levels is None and (path == self.output or self.output in path.parents)


def _file_id(path: Path) -> tuple[int, int] | None:
    """Tells whether two paths are one file, also through links; ``None``: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def stage_file(
    destination: Path, *, force: bool, inputs: Iterable[Path] = (), may_exist: bool = False
) -> Iterator[Stage]:
    """A stage for one artifact, a file or a folder, with further files beside it.

    The hook writes ``stage.output``, which has the name of ``destination``, and may write further files
    beside it. Without :meth:`Stage.commit`, the block changes nothing. Folders that ``destination`` lies in
    are made.

    Args:
        destination: Where the artifact will lie.
        force: Replace what is there, and what is at the places of its parts.
        inputs: Files that are not replaced or removed, not even with ``force``.
        may_exist: ``destination`` may exist without ``force``, since the hook chooses another name, or writes
            nothing.

    Raises:
        UsageError: ``destination`` exists and ``force`` is not set, or it cannot be written.
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    if destination.name in ("", ".."):
        raise UsageError(f"{destination} has no name of its own; name a file to write")
    started_in = Path.cwd()
    base = started_in / destination.parent
    remove_abandoned(base)  # first, since this may complete a commit to that place
    if destination.is_dir() and not destination.is_symlink():
        ensure_replaceable_folder(destination, force=force or may_exist)
    else:
        ensure_free(destination, force=force or may_exist)
    with (
        making_parents(started_in / destination),
        _temporary(base, destination, destination.parent) as temporary,
    ):
        root = temporary / _NEW
        root.mkdir()
        yield Stage(
            output=root / destination.name,
            destination=destination,
            _root=root,
            _base=base,
            _temporary=temporary,
            _started_in=started_in,
            _force=force,
            _inputs=tuple(inputs),
            _shared_levels=None,
        )


@contextmanager
def stage_folder(
    folder: Path, *, force: bool, shared_levels: int = 0, inputs: Iterable[Path] = ()
) -> Iterator[Stage]:
    """A stage for what is packed into a server's folder of models.

    ``stage.output`` is an empty folder. Each entry in it replaces the one of the same name in ``folder``;
    what is there under other names stays.

    The stage lies in ``folder``, which may be a mount of its own: a file moves only within a file system. Its
    name is hidden, and the models lie two levels down. TorchServe leaves hidden folders out. Triton reads
    them when it polls, but finds neither a configuration nor a model there, and reports that it cannot load
    it.

    Args:
        folder: The folder of models; it exists.
        force: Replace what is there.
        shared_levels: How many levels of folders are merged with those in ``folder``. With 0, a model is
            replaced whole; with 1, the entries in its folder are (a version in Triton's repository), and the
            files that versions share are replaced without ``force``.
        inputs: Files that are not replaced or removed, not even with ``force``.

    Raises:
        UsageError: there is no such folder.
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint=f"mkdir -p {folder}")
    started_in = Path.cwd()
    base = started_in / folder
    remove_abandoned(base)
    # A packer reads what is there before it writes: two versions of one model share a configuration.
    with reserved(base), _temporary(base, folder, folder) as temporary:
        output = temporary / _NEW / _MODELS
        output.mkdir(parents=True)
        yield Stage(
            output=output,
            destination=folder,
            _root=output,
            _base=base,
            _temporary=temporary,
            _started_in=started_in,
            _force=force,
            _inputs=tuple(inputs),
            _shared_levels=shared_levels,
        )


def recover(folder: Path) -> None:
    """Complete the commits of processes that were killed in the middle, and remove what others left.

    Every write in ``folder`` does so first. What a running process writes is not touched, and what another
    machine wrote not before a day has passed.
    """
    remove_abandoned(folder)


@contextmanager
def _temporary(base: Path, destination: Path, place: Path) -> Iterator[Path]:
    """A temporary folder in ``base``. A full disk, or any failure in that folder, is one of writing.

    Errors name the files in ``place``, where they would have been moved.
    """
    try:
        with temporary_folder(base) as temporary:
            try:
                yield temporary
            except SegplugError as error:
                for root in (temporary / _NEW / _MODELS, temporary / _NEW):
                    beginning = f"{place / 'x'}"[:-1]  # with its separator; empty for the working folder
                    error.message = error.message.replace(f"{root}{os.sep}", beginning)
                raise
    except OSError as error:
        if error.errno in _FULL or str(error.filename).startswith(str(base / PREFIX)):
            raise cannot_write(destination, error) from error
        raise
