"""Checkpoints that are shared out to several files, with an index of what lies where."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from segplug.errors import CheckpointError, UsageError

__all__ = ["check_names", "is_index", "refuse_shard", "shards"]

_INDEX = re.compile(r"\.index(\.\w+)?\.json", re.IGNORECASE)
"""How an index's name ends; a variant may be in it: ``model.safetensors.index.fp16.json``."""
_WEIGHT_MAP = "weight_map"


def is_index(path: Path) -> bool:
    """Whether a file is called like an index."""
    return _INDEX.search(path.name) is not None and path.suffix.lower() == ".json"


def shards(path: Path, location: str) -> Mapping[Path, Collection[str]]:
    """The files of an index, in its order, and the names of what each holds.

    Args:
        path: The index.
        location: What the user called it.

    Raises:
        CheckpointError: it is damaged, or lists a file that is not there.
    """
    names_in: dict[Path, list[str]] = {}
    for name, file in _weight_map(path, location).items():
        names_in.setdefault(path.parent / file, []).append(name)
    for shard in names_in:
        if not shard.is_file():
            raise CheckpointError(f"{location} lists {shard.name}, which is not beside it")
    return names_in


def check_names(listed: Collection[str], held: Collection[str], shard: Path, location: str) -> None:
    """Check that a file holds what its index lists.

    Raises:
        CheckpointError: it holds less or more, so that the two are not of one checkpoint.
    """
    missing, more = set(listed) - set(held), set(held) - set(listed)
    if missing:
        raise CheckpointError(f"{location} looks for {min(missing)} in {shard.name}, which does not hold it")
    if more:
        raise CheckpointError(f"{shard.name} holds {min(more)}, which {location} does not list for it")


def refuse_shard(path: Path, location: str) -> None:
    """Check that a file is not one of several that an index in its folder lists.

    Raises:
        UsageError: it is; the error names the index.
    """
    for index in sorted(path.parent.glob("*.json")):
        if not is_index(index):
            continue
        try:
            files = set(_weight_map(index, str(index)).values())
        except CheckpointError:  # nobody asked for this index
            continue
        if path.name in files and len(files) > 1:
            raise UsageError(f"{location} is one of {len(files)} files of a checkpoint", hint=f"give {index}")


def _weight_map(path: Path, location: str) -> Mapping[str, str]:
    """Name of each tensor to the name of the file that it lies in."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content[_WEIGHT_MAP]
        if found and all(Path(file).name == file for file in found.values()):
            return dict(found)
    except OSError as error:
        raise CheckpointError(f"cannot read {location}: {error.strerror or error}") from error
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        pass
    raise CheckpointError(f"{location} is damaged or no index of a checkpoint's files")
