"""Artifacts on disk: their metadata beside them, their parts, their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segplug.checkpoint.shards import is_index, read_index
from segplug.companions import check_companion
from segplug.errors import ArtifactError
from segplug.files import write_text
from segplug.model import ModelMeta
from segplug.regular_files import open_regular, read_regular_text
from segplug.results import Artifact

__all__ = [
    "combined_sha256",
    "completed",
    "file_sha256",
    "read_sidecar",
    "sidecar_path",
    "weights_sha256",
    "write_sidecar",
]


def sidecar_path(path: Path) -> Path:
    """The file for the metadata of an artifact whose format cannot hold metadata: ``<artifact>.json``."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, meta: ModelMeta) -> None:
    """Write the metadata beside an artifact, replacing an older file.

    Raises:
        ArtifactError: the file cannot be written.
    """
    write_text(sidecar_path(path), meta.to_json() + "\n", force=True)


def read_sidecar(path: Path) -> ModelMeta | None:
    """The metadata beside an artifact, or ``None`` if there is none.

    Raises:
        ArtifactError: the file cannot be read, or is damaged, or is a link to another folder.
    """
    sidecar = sidecar_path(path)
    check_companion(path, sidecar)
    try:
        text = read_regular_text(sidecar)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{sidecar}: the model metadata is not UTF-8 text: {error}") from error
    except OSError as error:
        raise ArtifactError(
            f"{sidecar}: the model metadata cannot be read: {error.strerror or error}"
        ) from error
    return ModelMeta.from_json(text, file=sidecar)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits; raises :class:`OSError` if it cannot be read."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def combined_sha256(folder: Path, names: Sequence[str]) -> str:
    """One SHA-256 for several files: over the lines ``<name> NUL <sha256 of the file> LF``, sorted by name.

    Args:
        folder: Where the files lie.
        names: Their names relative to ``folder``, with ``/``.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\0{file_sha256(folder / name)}\n".encode())
    return digest.hexdigest()


def weights_sha256(path: Path) -> str:
    """SHA-256 of a checkpoint: of its file, or of an index and all files that it lists (combined).

    Raises:
        OSError: a file cannot be read.
        CheckpointError: the index is damaged, or lists a missing file.
    """
    if not is_index(path):
        return file_sha256(path)
    return combined_sha256(path.parent, [path.name, *(file.name for file in read_index(path, str(path)))])


def completed(artifact: Artifact, names: Sequence[str]) -> Artifact:
    """An artifact with its parts, their size and their hash.

    Args:
        artifact: The artifact.
        names: All its files, relative to ``artifact.path.parent``, the main file first.

    Raises:
        ArtifactError: a file cannot be read.
    """
    folder = artifact.path.parent
    try:
        size = sum((folder / name).stat().st_size for name in names)
        alone = len(names) == 1 and folder / names[0] == artifact.path
        sha256 = file_sha256(artifact.path) if alone else combined_sha256(folder, names)
    except OSError as error:
        raise ArtifactError(f"cannot read {artifact.path}: {error.strerror or error}") from error
    return replace(artifact, files=tuple(names), size=size, sha256=sha256)
