"""``export triton``: packs an artifact into a Triton model repository."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.errors import ArtifactError, MissingDependencyError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.options import option
from segplug.providers import Packer
from segplug.registry.hub import how_to_download
from segplug.regular_files import why_no_file
from segplug.requests import PackRequest
from segplug.results import Artifact
from segplug_triton import config as configs
from segplug_triton.formats import Kind, kind_of
from segplug_triton.repository import ModelFolder, check_name, name_from
from segplug_triton.signature import Packable

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from segplug.description import FileDescription

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options(configs.Settings):
    """Options of ``export triton``."""

    model_name: str | None = option(
        None, help="The name of the model and its folder. Default: the name in the artifact's metadata."
    )
    model_version: int = option(
        1, help="The version; other versions of the model are kept.", minimum=1, maximum=configs.MAX_INT
    )

    @property
    def settings(self) -> configs.Settings:
        """The options that are written to ``config.pbtxt``."""
        names = [field.name for field in fields(configs.Settings)]
        return configs.Settings(**{name: getattr(self, name) for name in names})


class TritonPacker(Packer[Options]):
    """Packs an ONNX, TorchScript or TensorRT artifact into a model repository of Triton.

    The artifact is copied unchanged. The names, types and dimensions of its inputs and outputs are written to
    config.pbtxt, and so is its metadata, from which a client knows how to preprocess an image.
    """

    hook_version = 2
    options = Options
    shared_levels = 1  # other versions of a model stay

    @hookimpl
    def export(self, request: PackRequest[Options]) -> Artifact:
        """Pack ``request.artifact``; see :func:`segplug.hookspecs.export`."""
        options = request.options
        _require_schema()
        path = _artifact(request)
        kind = kind_of(request.session, path)
        if options.model_name is not None:
            check_name(options.model_name)
        packed = kind.read(path, request)
        name = options.model_name or name_from(packed.meta.name if packed.meta else path.stem)
        existing = ModelFolder(request.destination / name)
        existing.check(options.model_version, packed.files.values(), force=request.force)
        config = _config(existing, name, kind, packed, options)
        _warn(request, path, packed)
        written = ModelFolder(request.output / name)
        with request.reporter.progress("packing", None):
            written.add_version(options.model_version, packed.files)
            if not existing.has_config(config):
                written.write_config(config)
        return request.made(written.path, packed.meta or ModelMeta(name=name))

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata in the ``config.pbtxt`` of a model's folder."""
        folder = ModelFolder(path)
        if not folder.is_model:
            return None
        _require_schema()
        return folder.meta()

    def describe(self, path: Path) -> FileDescription | None:
        """Read the ``config.pbtxt`` of a model's folder, of another tool's, too."""
        folder = ModelFolder(path)
        if not folder.is_model:
            return None
        _require_schema()
        from segplug_triton.description import describe

        return describe(folder)


def _require_schema() -> None:
    try:
        import tritonclient.grpc.model_config_pb2  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"export triton needs Triton's client: {error}", hint="pip install segplug-triton"
        ) from error


def _artifact(request: PackRequest[Options]) -> Path:
    path = request.file
    if reason := why_no_file(path):
        raise UsageError(reason, hint=how_to_download(path))
    if path.stat().st_size == 0:
        raise ArtifactError(f"{path} is empty")
    return path


def _warn(request: PackRequest[Options], path: Path, packed: Packable) -> None:
    if packed.meta is None:
        request.reporter.warn(
            f"{path} has no segplug metadata: config.pbtxt describes neither classes nor preprocessing"
        )
    if packed.bound_to == "cpu" and request.options.device != "cpu":
        request.reporter.warn(
            f"{path} creates tensors on the CPU, so config.pbtxt keeps it on the CPU; "
            "an ONNX file of the same model can run on a GPU"
        )


def _config(folder: ModelFolder, name: str, kind: Kind, packed: Packable, options: Options) -> ModelConfig:
    """The configuration of the model: a new one, or the one that its other versions share."""
    others = folder.others(options.model_version)
    if not others:
        return configs.make(name, kind, packed, options.settings)
    newest = options.model_version > max(others)
    return configs.make_for_next_version(folder.config(), kind, packed, options.settings, newest=newest)


provider = TritonPacker()
