"""The results of finished runs in the work folder: ``--resume`` does not repeat these runs.

Each run has a JSON file. Its name ends in a hash of everything that the numbers depend on: the model, the
file that was run, the data set with the size and time of its files, and all installed distributions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

from segplug.files import write_bytes
from segplug.regular_files import read_regular_text
from segplug.runtime.dataset_files import file_states, input_files

if TYPE_CHECKING:
    from segplug.dataset import Dataset

__all__ = ["cache_inputs", "installed_distributions", "load", "save"]

T = TypeVar("T")


def installed_distributions() -> tuple[str, ...]:
    """Name and version of every installed distribution. Parsing their metadata takes a while."""
    parsed = (distribution.metadata for distribution in distributions.distributions())
    return tuple(sorted(f"{metadata['Name']} {metadata['Version']}" for metadata in parsed))


def cache_inputs(dataset: Dataset, installed: Sequence[str]) -> dict[str, Any]:
    """Everything that the results of a run on a data set depend on (JSON types)."""
    return {
        "dataset": dataset.info.fingerprint,
        "files": [file_states(input_files(dataset, index)) for index in range(len(dataset))],
        "installed": list(installed),
    }


def save(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, replacing an older one; raises :class:`ArtifactError` if it cannot be written."""
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())


def load(path: Path, build: Callable[[Mapping[str, Any]], T | None]) -> T | None:
    """Read a record and pass it to ``build``; ``None``: the record or a file of it is damaged or missing."""
    try:
        return build(json.loads(read_regular_text(path)))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, RecursionError):
        return None
