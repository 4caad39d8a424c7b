"""Which files on disk are a data set of the library ``datasets``, and its splits. Imports no library."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segplug.errors import DatasetError, UsageError
from segplug.regular_files import expanded, is_regular, open_regular, read_regular_text, require_regular
from segplug.runtime.folder import IMAGE_SUFFIXES
from segplug.text import counted

__all__ = ["Layout", "Split", "find_layout", "recognise"]

Layout = Literal["saved splits", "saved split", "parquet files", "parquet file"]
"""``save_to_disk`` of a ``DatasetDict`` or of a ``Dataset``; a folder with Parquet files; one such file."""

_SPLITS = "dataset_dict.json"
_STATE, _INFO = "state.json", "dataset_info.json"
_SUFFIX = ".parquet"
_MAGIC = b"PAR1"
_DEPTH = 2
"""Folders below the data set's own that are searched: ``data/``, or ``default/train/``."""
_SHARD = re.compile(r"(?P<split>\w+(\.\w+)*)-\d{5}-of-\d{5}(-[0-9a-f]+)?")
"""What ``push_to_hub`` names its files."""
_KEYWORD = re.compile(
    r"(?:^|[-._ 0-9])(train|training|validation|valid|val|dev|test|testing|eval|evaluation)(?=$|[-._ 0-9])"
)
"""What the library takes for a split's name in the names of folders and files."""
_ONLY = "train"
"""What the library calls the only split of files whose names tell of none."""


@dataclass(frozen=True)
class Split:
    """The files of one split."""

    name: str
    folder: Path
    files: tuple[Path, ...]
    """Of Arrow or Parquet, in their order."""


def recognise(location: str) -> Layout | None:
    """Which of the library's layouts lies at a path; ``None``: none of them, or nothing is there."""
    path = expanded(location)
    try:
        if not path.is_dir():
            return "parquet file" if path.suffix == _SUFFIX and _is_parquet(path) else None
        if is_regular(path / _SPLITS):
            return "saved splits"
        if is_regular(path / _STATE) and is_regular(path / _INFO):
            return "saved split"
        if _holds_images(path) or not any(map(_is_parquet, _parquet_files(path))):
            return None
    except (OSError, ValueError):  # no such path can be, or it may not be looked into
        return None
    return "parquet files"


def find_layout(location: str) -> tuple[Layout, Mapping[str, Split]]:
    """The layout at a path, and its splits by their names.

    Raises:
        UsageError: there is no data set of the library.
        DatasetError: files of it are missing, or are damaged; or a split has files in several folders.
    """
    layout = recognise(location)
    path = expanded(location)
    if layout is None:
        raise UsageError(
            f"{location} is no data set of the library datasets",
            hint="it reads what save_to_disk wrote, a Parquet file, and a folder with Parquet files",
        )
    if layout == "parquet file":
        return layout, {_ONLY: Split(_ONLY, path.parent, (path,))}
    if layout == "saved split":
        return layout, {path.name: _saved(path.name, path)}
    if layout == "saved splits":
        return layout, {name: _saved(name, path / name) for name in _saved_splits(path / _SPLITS)}
    found: dict[str, list[Path]] = {}
    for file in _parquet_files(path):
        found.setdefault(_split_of(file.relative_to(path)), []).append(file)
    return layout, {name: _parquet_split(name, files) for name, files in sorted(found.items())}


def _is_parquet(path: Path) -> bool:
    if not is_regular(path):
        return False
    with open_regular(path) as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _holds_images(path: Path) -> bool:
    """Whether a folder is one of image files: Parquet files in it are something else."""
    if (path / "images").is_dir():
        return True
    return any(name.lower().endswith(IMAGE_SUFFIXES) for name in os.listdir(path))


def _parquet_files(path: Path) -> Iterator[Path]:
    """The files below a folder whose names end in ``.parquet``, in the order of their names."""
    for where, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(where).relative_to(path).parts) == _DEPTH:
            folders.clear()
        yield from (Path(where, name) for name in sorted(files) if name.endswith(_SUFFIX))


def _split_of(file: Path) -> str:
    """The split that a file's path in the data set names, as the library reads it."""
    if shard := _SHARD.fullmatch(file.stem):
        return shard["split"]
    for part in (file.stem, *reversed(file.parts[:-1])):
        if keyword := _KEYWORD.search(part):
            return keyword[1]
    return _ONLY


def _parquet_split(name: str, files: list[Path]) -> Split:
    folders = sorted({file.parent for file in files})
    if folders[1:]:
        raise DatasetError(
            f"the split {name} has files in {counted(len(folders), 'folder')}: "
            + ", ".join(map(str, folders[:3])),
            hint="each is a configuration of its own: name one of the folders as the data set",
        )
    return Split(name, folders[0], tuple(files))


def _saved_splits(file: Path) -> tuple[str, ...]:
    names = _read_json(file).get("splits")
    if not isinstance(names, list) or not names or not all(_is_name(name) for name in names):
        raise DatasetError(f"{file} names no splits")
    return tuple(names)


def _saved(name: str, folder: Path) -> Split:
    content = _read_json(folder / _STATE).get("_data_files")
    _read_json(folder / _INFO)
    if not isinstance(content, list):
        raise DatasetError(f"{folder / _STATE} names no data files")
    if not content:
        raise DatasetError(f"there is no row in {folder}: its {_STATE} names no data files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in content]
    if not all(map(_is_name, names)):
        raise DatasetError(f"{folder / _STATE} names data files that do not lie beside it")
    files = tuple(folder / str(file) for file in names)
    for file in files:
        try:
            require_regular(file)
        except OSError as error:
            raise DatasetError(f"the data file {file} cannot be read: {error.strerror or error}") from error
    return Split(name, folder, files)


def _is_name(value: object) -> bool:
    """Whether this is the name of something beside the file that names it."""
    return isinstance(value, str) and value not in ("", ".", "..") and Path(value).name == value


def _read_json(file: Path) -> dict[str, object]:
    try:
        content = json.loads(read_regular_text(file))
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file} holds no JSON object")
    return content
