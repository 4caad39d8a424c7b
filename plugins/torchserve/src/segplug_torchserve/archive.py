"""Writes a ``.mar`` archive with TorchServe's own archiver, and reads the metadata in one."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segplug.description import FileDescription
from segplug.errors import ArtifactError, MissingDependencyError
from segplug.model import ModelMeta
from segplug.regular_files import open_regular

__all__ = ["HANDLER", "META_FILE", "describe", "read_meta", "write_archive"]

HANDLER = "segplug_handler.py"
"""TorchServe puts the archive's folder on the module path, so the name must not hide another module."""

META_FILE = "segplug-meta.json"
"""The metadata of the model in an archive, for those who do not open the model."""

_MANIFEST = "MAR-INF/MANIFEST.json"
_MOST_META = 16 << 20


def write_archive(folder: Path, target: Path, *, name: str, version: str, config_file: str) -> None:
    """Write the files of ``folder`` as an archive.

    Args:
        folder: All files of the archive, :data:`HANDLER` included.
        target: The path of the archive: ``<name>.mar``.
        name: The model's name.
        version: The model's version.
        config_file: The name of TorchServe's model configuration in ``folder``.
    """
    try:
        from model_archiver.model_archiver_config import ModelArchiverConfig
        from model_archiver.model_packaging_utils import ModelExportUtils
    except ImportError as error:
        raise MissingDependencyError(
            "export torchserve needs torch-model-archiver", hint="pip install torch-model-archiver"
        ) from error
    config = ModelArchiverConfig(
        model_name=name,
        handler=HANDLER,
        version=version,
        config_file=config_file,
        export_path=str(target.parent),
    )
    manifest = ModelExportUtils.generate_manifest_json(config)
    # `package_model` is not used: it first empties <system's temporary folder>/<name>, and it treats
    # commas and brackets in file names as syntax. Files are stored uncompressed: weights hardly compress.
    ModelExportUtils.archive(str(target.parent), name, str(folder), manifest, "zip-store")


def read_meta(archive: Path) -> ModelMeta | None:
    """The metadata in an archive; ``None``: segplug did not write it.

    Raises:
        ArtifactError: the archive or the metadata is damaged.
    """
    with _opened(archive) as opened:
        text = _text(opened, META_FILE) if META_FILE in opened.namelist() else None
    return None if text is None else ModelMeta.from_json(text, file=archive)


def describe(archive: Path) -> FileDescription:
    """What an archive of any tool says: its manifest, the files in it, the command that serves it.

    Raises:
        ArtifactError: the archive or its manifest is damaged.
    """
    with _opened(archive) as opened:
        manifest: Any = json.loads(_text(opened, _MANIFEST))
        model = manifest["model"]
        name, handler = str(model["modelName"]), str(model.get("handler", ""))
        files = {info.filename: info.file_size for info in opened.infolist() if info.filename != _MANIFEST}
    details = {
        "model": f"{name} {model.get('modelVersion', '')}".strip(),
        "handler": handler,
        "files, in bytes": files,
    }
    folder, served = shlex.quote(str(archive.parent)), shlex.quote(f"{name}={archive.name}")
    start = f"torchserve --start --foreground --ncs --model-store {folder} --models {served}"
    return FileDescription("archive for TorchServe", details=details, next=(start,))


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """An archive to read; what is wrong with it is an :class:`ArtifactError`."""
    try:
        with open_regular(archive) as file, zipfile.ZipFile(file) as opened:
            yield opened
    except Exception as error:  # zipfile and a wrong manifest raise errors of many classes
        raise ArtifactError(f"{archive} cannot be read: {error}") from error


def _text(opened: zipfile.ZipFile, name: str) -> str:
    if (size := opened.getinfo(name).file_size) > _MOST_META:
        raise ValueError(f"its {name} has {size:,} bytes")
    return opened.read(name).decode("utf-8")
