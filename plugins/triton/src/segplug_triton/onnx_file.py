"""Reads the inputs and outputs of an ONNX file with ONNX Runtime, because Triton compares with that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segplug.artifact import sidecar_path
from segplug.errors import ArtifactError, MissingDependencyError
from segplug.model import META_ENTRY, ModelMeta
from segplug.registry.formats import companions
from segplug.requests import PackRequest
from segplug_triton.signature import FREE, TYPES, Packable, Tensor

__all__ = ["read"]

_NAMES = {"float": "float32", "double": "float64"}
"""Data types whose names differ between ONNX Runtime and numpy."""

_FATAL = 4

_BACKEND = "onnxruntime"
"""The ``infer`` target that knows which files belong to an ONNX file."""


def read(path: Path, filename: str, request: PackRequest[Any]) -> Packable:
    """Read an ONNX file, from segplug or not. Its weights may be in other files.

    Raises:
        ArtifactError: ONNX Runtime cannot load it, or Triton cannot serve its inputs and outputs.
        MissingDependencyError: segplug-onnx or onnxruntime is not installed.
    """
    files = _files(path, filename, request)  # first: it refuses weights that lie elsewhere
    session = _session(path)
    try:
        text = session.get_modelmeta().custom_metadata_map.get(META_ENTRY)
    except UnicodeDecodeError as error:
        raise ArtifactError(f"the metadata in {path} is not UTF-8 text") from error
    return Packable(
        inputs=tuple(_tensor(path, node) for node in session.get_inputs()),
        outputs=tuple(_tensor(path, node) for node in session.get_outputs()),
        files=files,
        meta=None if text is None else ModelMeta.from_json(text, file=path),
    )


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    # The graph is not run here: optimising it would take time, and its warnings would not help.
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
        raise ArtifactError(f"Triton cannot serve {path}: the number of axes of '{node.name}' is not known")
    return Tensor(node.name, kind, tuple(size if isinstance(size, int) else FREE for size in node.shape))


def _files(path: Path, filename: str, request: PackRequest[Any]) -> dict[str, Path]:
    """The file; or, if its weights are in other files, a folder of the file's name with all of them."""
    weights = {file.relative_to(path.parent): file for file in _weights(path, request)}
    if not weights:
        return {filename: path}
    if any(name.parts[0] == filename for name in weights):
        raise ArtifactError(
            f"the weights of {path} are in '{filename}', a name that Triton needs for the model itself",
            hint="use another name: onnx.save_model(..., save_as_external_data=True, location=...)",
        )
    weight_files = {f"{filename}/{name.as_posix()}": file for name, file in weights.items()}
    return {f"{filename}/{filename}": path} | weight_files


def _weights(path: Path, request: PackRequest[Any]) -> list[Path]:
    """The other files that contain weights. Metadata is left out: it goes into config.pbtxt."""
    if not any(entry.target == _BACKEND for entry in request.session.targets("infer")):
        raise _missing("segplug-onnx")
    backend = request.session.registry.provider("infer", _BACKEND)
    return [file for file in companions(backend, path) if file != sidecar_path(path)]
