"""What finished runs leave in the work folder, so that ``--resume`` need not repeat them.

A JSON file for each, named by a key over everything that changes the numbers: the model, the file
that was run, the data set with the states of its files, and every distribution that is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

from segplug.files import write_bytes
from segplug.runtime.dataset_files import file_states, input_files

if TYPE_CHECKING:
    from segplug.dataset import Dataset

__all__ = ["circumstances", "keep", "recall"]

T = TypeVar("T")


def circumstances(dataset: Dataset) -> dict[str, Any]:
    """What runs depend on besides what is run (JSON types)."""
    return {
        "dataset": dataset.info.fingerprint,
        "files": [file_states(input_files(dataset, index)) for index in range(len(dataset))],
        "installed": sorted(
            f"{found.metadata['Name']} {found.version}" for found in distributions.distributions()
        ),
    }


def keep(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record whole, in place of an older one; raises :class:`ArtifactError` if it cannot be."""
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())


def recall(path: Path, build: Callable[[Mapping[str, Any]], T | None]) -> T | None:
    """What ``build`` makes of a record; ``None``: there is none, or it or what it tells of is damaged."""
    try:
        return build(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        return None
