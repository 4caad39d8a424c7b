"""The files of a data set: which they are, whether they changed, and that no result is written over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from segplug.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from segplug.dataset import Dataset

__all__ = [
    "file_states",
    "input_files",
    "refuse_dataset_file",
    "refuse_searched_folder",
    "relative_path",
]


def relative_path(name: str) -> PurePosixPath:
    """The name of an image as a path below an output folder.

    Raises:
        DatasetError: it leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise DatasetError(f"the image name '{name}' does not stay inside a folder")
    return path


def input_files(dataset: Dataset, index: int, *, mask: bool = True) -> list[Path]:
    """The files that a sample is read from; empty if the data set has no ``image_path`` and ``mask_path``."""
    wanted = ("image_path", "mask_path") if mask else ("image_path",)
    locate = [find for find in (getattr(dataset, method, None) for method in wanted) if find is not None]
    return [Path(path) for path in (find(index) for find in locate) if path is not None]


def file_states(files: Sequence[Path]) -> list[list[int] | None]:
    """``[size, mtime_ns]`` of each file, which changes when it is written; ``None``: it does not exist."""
    return [_state(file) for file in files]


def _state(file: Path) -> list[int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def refuse_dataset_file(target: Path, dataset: Dataset, index: int) -> None:
    """Check that ``target`` is no image or mask of the data set, as far as the data set names its files.

    Raises:
        UsageError: ``target`` is one of them.
    """
    if not target.exists():
        return
    for source in input_files(dataset, index):
        if source.exists() and target.samefile(source):
            raise UsageError(f"{target} is a file of the data set itself", hint="name another folder")


def refuse_searched_folder(folder: Path, dataset: Dataset) -> None:
    """Check that ``folder`` is not searched for images: the next run would take the results for images.

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
    """The folders that the names of the images are relative to: their paths without their names."""
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
