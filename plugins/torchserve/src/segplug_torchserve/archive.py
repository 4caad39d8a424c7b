"""Writes a ``.mar`` archive with TorchServe's own archiver, and reads the metadata in one."""

from __future__ import annotations

import zipfile
from pathlib import Path

from segplug.errors import ArtifactError, MissingDependencyError
from segplug.model import ModelMeta
from segplug.regular_files import open_regular

__all__ = ["HANDLER", "META_FILE", "read_meta", "write_archive"]

HANDLER = "segplug_handler.py"
"""TorchServe puts the archive's folder on the module path, so the name must not hide another module."""

META_FILE = "segplug-meta.json"
"""The metadata of the model in an archive, for those who do not open the model."""


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
    try:
        with open_regular(archive) as file, zipfile.ZipFile(file) as opened:
            if META_FILE not in opened.namelist():
                return None
            if (size := opened.getinfo(META_FILE).file_size) > _MOST_META:
                raise ValueError(f"its metadata has {size:,} bytes")
            text = opened.read(META_FILE).decode("utf-8")
    except Exception as error:  # zipfile raises errors of many classes for damaged files
        raise ArtifactError(f"{archive} cannot be read: {error}") from error
    return ModelMeta.from_json(text, file=archive)
