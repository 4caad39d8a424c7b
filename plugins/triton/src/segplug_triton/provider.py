"""``export triton``: packs an artifact into a Triton model repository."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.artifact import describe
from segplug.errors import ArtifactError, MissingDependencyError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.options import option
from segplug.requests import ExportRequest
from segplug.results import Artifact
from segplug_triton import config as configs
from segplug_triton.formats import Kind, kind_of
from segplug_triton.repository import ModelFolder, check_name, name_from
from segplug_triton.signature import Packable

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

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


class TritonExporter:
    """Packs an artifact (ONNX, TorchScript, TensorRT) into a model repository of the Triton Inference Server.

    The artifact is copied unchanged. The names, types and dimensions of its inputs and outputs are written to
    config.pbtxt, and so is its metadata, from which a client knows how to preprocess an image.
    """

    api_version = 1
    options = Options
    takes = "artifact"

    @hookimpl
    def export(self, request: ExportRequest) -> Artifact:
        """Pack ``request.artifact``; see :func:`segplug.hookspecs.export`."""
        options: Options = request.options or Options()
        _require_schema()
        path = _artifact(request)
        kind = kind_of(request.session, path)
        if options.model_name is not None:
            check_name(options.model_name)
        packed = kind.read(path, request)
        name = options.model_name or name_from(packed.meta.name if packed.meta else path.stem)
        folder = ModelFolder(request.output / name)
        with folder.locked():
            folder.check(options.model_version, path, force=request.force)
            config = _config(folder, name, kind, packed, options)
            _warn(request, path, packed, options)
            folder.write(options.model_version, packed.files, config)
            return describe(folder.path, format="triton", meta=packed.meta or ModelMeta(name=name))


def _require_schema() -> None:
    try:
        import tritonclient.grpc.model_config_pb2  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"export triton needs Triton's client: {error}", hint="pip install segplug-triton"
        ) from error


def _artifact(request: ExportRequest) -> Path:
    path = request.artifact
    if path is None:
        raise UsageError("export triton needs an artifact")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    if path.stat().st_size == 0:
        raise ArtifactError(f"{path} is empty")
    return path


def _warn(request: ExportRequest, path: Path, packed: Packable, options: Options) -> None:
    if packed.meta is None:
        request.reporter.warn(
            f"{path} has no segplug metadata: config.pbtxt describes neither classes nor preprocessing"
        )
    if packed.bound_to == "cpu" and options.device != "cpu":
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


provider = TritonExporter()
