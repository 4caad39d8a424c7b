"""A ``.mar``: a folder of files with TorchServe's manifest, written by its own archiver."""

from __future__ import annotations

from pathlib import Path

from segplug.errors import MissingDependencyError
from segplug.files import writing

__all__ = ["HANDLER", "write_archive"]

HANDLER = "segplug_handler.py"
"""TorchServe puts the archive's folder on the module path: no name that could hide another module."""


def write_archive(
    folder: Path, target: Path, *, name: str, version: str, config_file: str, force: bool
) -> None:
    """Write ``folder`` as an archive, whole or not at all.

    Args:
        folder: Everything that goes in, :data:`HANDLER` among it.
        target: ``<name>.mar``.
        name: The model's.
        version: The model's.
        config_file: TorchServe's model configuration, by its name in ``folder``.
        force: Replace ``target`` if it is there.
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
        # Not `package_model`: it gathers files in <system's temporary folder>/<name>, which it empties first,
        # and takes commas and brackets in their names for its own. Stored, as weights hardly compress.
        ModelExportUtils.archive(str(temporary.parent), name, str(folder), manifest, "zip-store")
