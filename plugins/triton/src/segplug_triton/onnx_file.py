"""What an ONNX file takes and gives: as ONNX Runtime sees it, for that is what Triton compares with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segplug.artifact import sidecar_path
from segplug.errors import ArtifactError, MissingDependencyError
from segplug.model import META_ENTRY, ModelMeta
from segplug.registry.formats import companions
from segplug.requests import ExportRequest
from segplug_triton.signature import FREE, TYPES, Packable, Tensor

__all__ = ["read"]

_NAMES = {"float": "float32", "double": "float64"}
"""Data types that ONNX Runtime calls otherwise than numpy."""

_FATAL = 4

_READER = "onnxruntime"
"""The ``infer`` target that knows which files belong to an ONNX file."""


def read(path: Path, filename: str, request: ExportRequest) -> Packable:
    """Read an ONNX file, segplug's own or another's; its weights may lie in files beside it.

    Raises:
        ArtifactError: ONNX Runtime cannot load it, or Triton could not serve what it takes and gives.
        MissingDependencyError: segplug-onnx or onnxruntime is not installed.
    """
    session = _session(path)
    text = session.get_modelmeta().custom_metadata_map.get(META_ENTRY)
    return Packable(
        inputs=tuple(_tensor(path, node) for node in session.get_inputs()),
        outputs=tuple(_tensor(path, node) for node in session.get_outputs()),
        files=_files(path, filename, request),
        meta=None if text is None else ModelMeta.from_json(text),
    )


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    # The graph is only looked at: optimising it takes time, and its complaints are for whoever runs it.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _FATAL
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).rpartition(" : ")[2]
        raise ArtifactError(f"ONNX Runtime cannot load {path}: {reason}") from error


def _missing(library: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"export triton needs {library} to read ONNX files", hint="pip install 'segplug-triton[onnx]'"
    )


def _tensor(path: Path, node: Any) -> Tensor:
    name = str(node.type).removeprefix("tensor(").removesuffix(")")
    kind = TYPES.get(_NAMES.get(name, name))
    if kind is None or name == "bfloat16":
        raise ArtifactError(f"Triton cannot serve {path}: '{node.name}' is {node.type}")
    if not node.shape:
        raise ArtifactError(f"Triton cannot serve {path}: it does not say how many axes '{node.name}' has")
    return Tensor(node.name, kind, tuple(size if isinstance(size, int) else FREE for size in node.shape))


def _files(path: Path, filename: str, request: ExportRequest) -> dict[str, Path]:
    """The file; with the files of its weights, where it has any, in a folder of the file's name."""
    weights = {file.relative_to(path.parent): file for file in _weights(path, request)}
    if not weights:
        return {filename: path}
    if any(name.parts[0] == filename for name in weights):
        raise ArtifactError(
            f"the weights of {path} lie in '{filename}', where Triton wants the model itself",
            hint="give them another name: onnx.save_model(..., save_as_external_data=True, location=...)",
        )
    beside = {f"{filename}/{name.as_posix()}": file for name, file in weights.items()}
    return {f"{filename}/{filename}": path} | beside


def _weights(path: Path, request: ExportRequest) -> list[Path]:
    """The files beside the model that hold its weights; its metadata goes into config.pbtxt."""
    if not any(entry.target == _READER for entry in request.session.targets("infer")):
        raise _missing("segplug-onnx")
    reader = request.session.registry.provider("infer", _READER)
    return [file for file in companions(reader, path) if file != sidecar_path(path)]
