"""What a TorchScript file takes and gives: from its engine, and from running it once.

The file names no tensors. Triton goes by position then, under names that end in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from segplug.engine import Axis, EngineSpec
from segplug.errors import ArtifactError, MissingDependencyError
from segplug.quiet import quiet
from segplug.requests import ExportRequest
from segplug_triton.signature import FREE, TYPES, Packable, Tensor

__all__ = ["read"]

_BACKEND = "torchscript"
"""The ``infer`` target of the format."""

_INPUT, _OUTPUT = "INPUT__0", "OUTPUT__0"


def read(path: Path, filename: str, request: ExportRequest) -> Packable:
    """Open a TorchScript file with its own backend for what it takes, and run it for what it gives.

    Raises:
        ArtifactError: PyTorch cannot load or run it, or it gives something else than one tensor.
        UsageError: its backend is not installed, or it has no segplug metadata.
    """
    with request.session.open(path, backend=_BACKEND) as engine:
        spec = engine.spec
    module = _loaded(path)
    bound = _bound_to(module)
    answer = _answer(path, module, spec, device="cuda" if bound == "gpu" else "cpu")
    batch, height, width = (_size(axis) for axis in (spec.batch, spec.height, spec.width))
    channels = tuple(answer.shape[1:-2])  # logits have an axis of them, labels have none
    kind = TYPES.get(str(answer.dtype).removeprefix("torch."))
    if kind is None:
        raise ArtifactError(f"Triton cannot serve {path}: it gives {answer.dtype}")
    return Packable(
        inputs=(Tensor(_INPUT, "TYPE_FP32", (batch, 3, height, width)),),
        outputs=(Tensor(_OUTPUT, kind, (batch, *channels, height, width)),),
        files={filename: path},
        meta=spec.meta,
        batches=spec.batch.accepts(1),
        most=spec.batch.maximum,
        bound_to=bound,
    )


def _loaded(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "export triton needs torch to read TorchScript files", hint="pip install torch"
        ) from error
    load: Any = torch.jit.load
    with quiet():  # that TorchScript is deprecated, its exporter says
        return load(str(path), map_location="cpu").eval()


def _bound_to(module: Any) -> Literal["cpu", "gpu"] | None:
    """The device that the trace names. Triton moves weights to a GPU, and what the trace says not."""
    graph = module.inlined_graph  # made for us: its nodes live as long as it does
    constants = graph.findAllNodes("prim::Constant")
    named = {node.s("value") for node in constants if node.output().type().kind() == "DeviceObjType"}
    if not named:
        return None
    return "cpu" if named == {"cpu"} else "gpu"


def _answer(path: Path, module: Any, spec: EngineSpec, *, device: str) -> Any:
    """What the file itself gives, as Triton will see it: the engine may have made something else of it."""
    import torch

    shape = (spec.batch.minimum, 3, *_tried(spec))
    try:
        with torch.inference_mode():
            answer = module.to(device)(torch.zeros(shape, device=device))
    except Exception as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise ArtifactError(f"PyTorch cannot run {path} on an input of shape {shape}: {reason}") from error
    if not isinstance(answer, torch.Tensor) or answer.ndim not in (3, 4) or answer.shape[-2:] != shape[-2:]:
        raise ArtifactError(f"{path} gives something else than logits or labels at its input's size")
    return answer


def _tried(spec: EngineSpec) -> tuple[int, int]:
    """A height and a width that the file takes: its own nominal ones where it has any."""
    nominal = spec.meta.input_size
    if nominal is not None and spec.height.accepts(nominal[0]) and spec.width.accepts(nominal[1]):
        return nominal
    return _smallest(spec.height), _smallest(spec.width)


def _smallest(axis: Axis) -> int:
    return -(-axis.minimum // axis.multiple_of) * axis.multiple_of


def _size(axis: Axis) -> int:
    return axis.minimum if axis.is_fixed else FREE
