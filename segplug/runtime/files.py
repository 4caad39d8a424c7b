"""Writing files: whole or not at all, and never over or among a data set's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from segplug.errors import ArtifactError, DatasetError, UsageError

if TYPE_CHECKING:
    from segplug.dataset import Dataset

__all__ = [
    "input_files",
    "inside",
    "make_folder",
    "refuse_input",
    "refuse_searched_folder",
    "states",
    "write_atomically",
]


def make_folder(folder: Path) -> None:
    """Make an output folder; raises :class:`ArtifactError` if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file whole or not at all, replacing an older one.

    Raises:
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise ArtifactError(f"cannot write {target}: {error.strerror or error}") from error
        raise


def inside(name: str) -> PurePosixPath:
    """An image's name as a path that cannot leave the output folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise DatasetError(f"the image name '{name}' does not stay inside a folder")
    return path


def input_files(dataset: Dataset, index: int, *, mask: bool = True) -> list[Path]:
    """The files that a sample is read from: none where the data set does not say."""
    wanted = ("image_path", "mask_path") if mask else ("image_path",)
    locate = [find for find in (getattr(dataset, method, None) for method in wanted) if find is not None]
    return [Path(path) for path in (find(index) for find in locate) if path is not None]


def states(files: Sequence[Path]) -> list[list[int] | None]:
    """What changes when a file is written: ``[size, mtime_ns]``; ``None``: there is no such file."""
    return [_state(file) for file in files]


def _state(file: Path) -> list[int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def refuse_input(target: Path, dataset: Dataset, index: int) -> None:
    """Never write over an image or mask of the data set, where it can say which files those are.

    Raises:
        UsageError: ``target`` is one of them.
    """
    if not target.exists():
        return
    for source in input_files(dataset, index):
        if source.exists() and target.samefile(source):
            raise UsageError(f"{target} is a file of the data set itself", hint="name another folder")


def refuse_searched_folder(folder: Path, dataset: Dataset) -> None:
    """Never write below a folder that is searched for images: the next run would find what this one wrote.

    Raises:
        UsageError: ``folder`` is, or lies in, an image folder of the data set.
    """
    if dataset.info.listed:
        return
    real = folder.resolve()
    for images in _image_folders(dataset):
        if images.resolve() in (real, *real.parents):
            raise UsageError(
                f"the output folder {folder} lies in {images}, the image folder of the data set "
                f"{dataset.info.name}",
                hint="name a folder outside of it",
            )


def _image_folders(dataset: Dataset) -> set[Path]:
    """Where the names of the images start: each image's path without what its name ends with."""
    folders: set[Path] = set()
    for index in range(len(dataset)):
        for path in input_files(dataset, index, mask=False):
            shared = 0
            for ours, theirs in zip(
                reversed(PurePath(dataset.name(index)).parts), reversed(path.parts), strict=False
            ):
                if ours != theirs:
                    break
                shared += 1
            folders.add(path.parents[max(shared, 1) - 1])
    return folders
