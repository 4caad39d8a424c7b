"""Checkpoints in several files (shards), with an index of the tensors in each."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from segplug.errors import CheckpointError, UsageError
from segplug.regular_files import is_regular, read_regular_text
from segplug.text import counted

__all__ = ["check_is_no_shard", "check_names", "is_index", "read_index"]

_INDEX = re.compile(r"\.index(\.\w+)?\.json", re.IGNORECASE)
"""The end of an index's name. It may name a variant: ``model.safetensors.index.fp16.json``."""
_WEIGHT_MAP = "weight_map"


def is_index(path: Path) -> bool:
    """Whether a file has the name of an index."""
    return _INDEX.search(path.name) is not None and path.suffix.lower() == ".json"


def read_index(path: Path, location: str) -> Mapping[Path, Collection[str]]:
    """Read an index: its files in order, and the names of the tensors in each.

    Args:
        path: The index.
        location: The index as the user gave it, for errors.

    Raises:
        CheckpointError: it is damaged, or lists a missing file.
    """
    names_in: dict[Path, list[str]] = {}
    for name, file in _weight_map(path, location).items():
        names_in.setdefault(path.parent / file, []).append(name)
    for shard in names_in:
        if not is_regular(shard):
            raise CheckpointError(f"{location} lists {shard.name}, which is not in its folder")
    return names_in


def check_names(listed: Collection[str], held: Collection[str], shard: Path, location: str) -> None:
    """Check that a file holds exactly the tensors that its index lists for it.

    Raises:
        CheckpointError: it holds others, so the two do not belong together.
    """
    missing, more = set(listed) - set(held), set(held) - set(listed)
    if missing:
        raise CheckpointError(f"{location} lists {min(missing)} in {shard.name}, which does not hold it")
    if more:
        raise CheckpointError(f"{shard.name} holds {min(more)}, which {location} does not list")


def check_is_no_shard(path: Path, location: str) -> None:
    """Check that a file is not one of several files that an index in its folder lists.

    Raises:
        UsageError: it is; the error names the index.
    """
    for index in sorted(path.parent.glob("*.json")):
        if not is_index(index):
            continue
        try:
            files = set(_weight_map(index, str(index)).values())
        except CheckpointError:  # a damaged index that the user did not name
            continue
        if path.name in files and len(files) > 1:
            raise UsageError(
                f"{location} is one of {counted(len(files), 'file')} of a checkpoint", hint=f"give {index}"
            )


def _weight_map(path: Path, location: str) -> Mapping[str, str]:
    """The name of each tensor, and the name of the file that holds it."""
    try:
        content = json.loads(read_regular_text(path))
        found = content[_WEIGHT_MAP]
        if found and all(Path(file).name == file for file in found.values()):
            return dict(found)
    except OSError as error:
        raise CheckpointError(f"cannot read {location}: {error.strerror or error}") from error
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        pass
    raise CheckpointError(f"{location} is damaged or no index of a checkpoint's files")
