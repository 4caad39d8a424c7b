"""Artifacts on disk: their metadata beside them, their hashes, their description."""

from __future__ import annotations

import hashlib
from pathlib import Path

from segplug.files import write_text
from segplug.model import ModelMeta
from segplug.results import Artifact

__all__ = ["describe", "file_sha256", "read_sidecar", "sidecar_path", "write_sidecar"]


def sidecar_path(path: Path) -> Path:
    """The file for the metadata of an artifact whose format cannot hold metadata: ``<artifact>.json``."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, meta: ModelMeta) -> None:
    """Write the metadata beside an artifact, replacing an older file."""
    write_text(sidecar_path(path), meta.to_json() + "\n", force=True)


def read_sidecar(path: Path) -> ModelMeta | None:
    """The metadata beside an artifact, or ``None`` if there is none.

    Raises:
        ArtifactError: the file is damaged.
    """
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return None
    return ModelMeta.from_json(sidecar.read_text(encoding="utf-8"))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(path: Path, *, format: str, meta: ModelMeta) -> Artifact:
    """The :class:`Artifact` for the file or folder at ``path``.

    The hash of a folder is computed from the relative names and the hashes of its files, sorted by name.
    """
    if not path.is_dir():
        return Artifact(
            path=path, format=format, meta=meta, size=path.stat().st_size, sha256=file_sha256(path)
        )
    files = sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()}\0{file_sha256(file)}\n".encode())
    size = sum(file.stat().st_size for file in files)
    return Artifact(path=path, format=format, meta=meta, size=size, sha256=digest.hexdigest())
