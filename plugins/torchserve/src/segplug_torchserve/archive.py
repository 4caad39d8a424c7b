"""Writes a ``.mar`` archive with TorchServe's own archiver."""

from __future__ import annotations

from pathlib import Path

from segplug.errors import MissingDependencyError
from segplug.files import writing

__all__ = ["HANDLER", "write_archive"]

HANDLER = "segplug_handler.py"
"""TorchServe puts the archive's folder on the module path, so the name must not hide another module."""


def write_archive(
    folder: Path, target: Path, *, name: str, version: str, config_file: str, force: bool
) -> None:
    """Write the files of ``folder`` as an archive. The archive is complete, or it is not written.

    Args:
        folder: All files of the archive, :data:`HANDLER` included.
        target: The path of the archive: ``<name>.mar``.
        name: The model's name.
        version: The model's version.
        config_file: The name of TorchServe's model configuration in ``folder``.
        force: Replace ``target`` if it exists.
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
    with writing(target, force=force) as temporary:
        # `package_model` is not used: it first empties <system's temporary folder>/<name>, and it treats
        # commas and brackets in file names as syntax. Files are stored uncompressed: weights hardly compress.
        ModelExportUtils.archive(str(temporary.parent), name, str(folder), manifest, "zip-store")
