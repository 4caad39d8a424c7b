"""Reads the input of a TorchScript file from its engine, and its output by running it once.

The file does not name its tensors. Triton then expects names that end with the tensor's position.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from segplug.engine import Axis, EngineSpec
from segplug.errors import ArtifactError, MissingDependencyError
from segplug.quiet import quiet
from segplug.requests import PackRequest
from segplug_triton.signature import FREE, TYPES, Packable, Tensor

__all__ = ["read"]

_BACKEND = "torchscript"
"""The ``infer`` target of the format."""

_INPUT, _OUTPUT = "INPUT__0", "OUTPUT__0"


def read(path: Path, filename: str, request: PackRequest[Any]) -> Packable:
    """Describe a TorchScript file: its backend knows the input, and running it once shows the output.

    Raises:
        ArtifactError: PyTorch cannot load or run it, or its output is not one tensor of scores or labels.
        UsageError: its backend is not installed, or it has no segplug metadata.
    """
    # The backend checks what the file may do. Only then is it loaded here.
    with request.session.open(path, backend=_BACKEND, trust_artifact=request.trust_artifact) as engine:
        spec = engine.spec
    module = _load(path)
    bound = _bound_to(module)
    answer = _run_once(path, module, spec, device="cuda" if bound == "gpu" else "cpu")
    batch, height, width = (_size(axis) for axis in (spec.batch, spec.height, spec.width))
    own = tuple(answer.shape[1:-2])  # scores have a class axis, labels have none
    rows, columns = (
        size if axis.is_fixed or spec.meta.output_size is not None else FREE
        for size, axis in zip(answer.shape[-2:], (spec.height, spec.width), strict=True)
    )
    kind = TYPES.get(str(answer.dtype).removeprefix("torch."))
    if kind is None:
        raise ArtifactError(f"Triton cannot serve {path}: its output is {answer.dtype}")
    return Packable(
        inputs=(Tensor(_INPUT, "TYPE_FP32", (batch, spec.meta.in_channels, height, width)),),
        outputs=(Tensor(_OUTPUT, kind, (batch, *own, rows, columns)),),
        files={filename: path},
        meta=spec.meta,
        takes_one_image=spec.batch.accepts(1),
        max_batch=spec.batch.maximum,
        bound_to=bound,
    )


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "export triton needs torch to read TorchScript files", hint="pip install torch"
        ) from error
    load: Any = torch.jit.load
    with quiet():  # the exporter has already warned that TorchScript is deprecated
        return load(str(path), map_location="cpu").eval()


def _bound_to(module: Any) -> Literal["cpu", "gpu"] | None:
    """The device in the trace. Triton moves weights to a GPU, but not the tensors that the trace creates."""
    graph = module.inlined_graph  # a temporary copy: keep it while its nodes are used
    constants = graph.findAllNodes("prim::Constant")
    named = {node.s("value") for node in constants if node.output().type().kind() == "DeviceObjType"}
    if not named:
        return None
    return "cpu" if named == {"cpu"} else "gpu"


def _run_once(path: Path, module: Any, spec: EngineSpec, *, device: str) -> Any:
    """The output of the file itself, as Triton gets it; the engine may convert it."""
    import torch

    size = _input_size(spec)
    shape = (spec.batch.minimum, spec.meta.in_channels, *size)
    try:
        with torch.inference_mode():
            answer = module.to(device)(torch.zeros(shape, device=device))
    except Exception as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise ArtifactError(f"PyTorch cannot run {path} on an input of shape {shape}: {reason}") from error
    given = {3: size, 4: spec.meta.scores_size(size)}
    if not isinstance(answer, torch.Tensor) or given.get(answer.ndim) != tuple(answer.shape[-2:]):
        raise ArtifactError(
            f"the output of {path} is neither labels of its input's size nor scores of the size that its "
            "metadata says ({}x{} for {}x{})".format(*spec.meta.scores_size(size), *size)
        )
    return answer


def _input_size(spec: EngineSpec) -> tuple[int, int]:
    """A height and width that the file takes: its nominal size if it has one, else the smallest."""
    nominal = spec.meta.input_size
    if nominal is not None and spec.height.accepts(nominal[0]) and spec.width.accepts(nominal[1]):
        return nominal
    return _smallest(spec.height), _smallest(spec.width)


def _smallest(axis: Axis) -> int:
    return -(-axis.minimum // axis.multiple_of) * axis.multiple_of


def _size(axis: Axis) -> int:
    return axis.minimum if axis.is_fixed else FREE
