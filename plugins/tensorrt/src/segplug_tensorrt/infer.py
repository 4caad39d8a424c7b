"""``infer tensorrt``: a TensorRT or TensorRT-RTX plan becomes an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segplug.artifact import read_sidecar, sidecar_path
from segplug.engine import Engine
from segplug.errors import ArtifactError, DeviceError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.requests import InferRequest
from segplug_tensorrt.driver import Gpu, find_gpu
from segplug_tensorrt.library import Library, load_library
from segplug_tensorrt.record import Record, check_plan, differences, read_record

__all__ = ["provider"]


class TensorRTInfer:
    """Runs a plan that build_engine tensorrt made, on the GPU that it was built for (--device cuda, cuda:N).

    What the plan was built with lies beside it, and is checked before it is opened.
    """

    api_version = 1
    takes = "artifact"
    reads = ("tensorrt", "torch-tensorrt")

    default_device = "cuda"

    def check_device(self, device: str) -> None:
        """Raise what opening an engine on ``device`` would raise for want of a GPU."""
        if device == "cpu":
            raise DeviceError("TensorRT runs on a GPU only", hint="--device cuda")
        find_gpu(device)

    @hookimpl
    def infer(self, request: InferRequest) -> Engine:
        """Open ``request.artifact``; see :func:`segplug.hookspecs.infer`."""
        path = request.artifact
        if path is None:
            raise UsageError("infer tensorrt takes a plan that build_engine tensorrt made")
        meta, record = _described(path)
        check_plan(record, path)
        self.check_device(request.device)
        library = load_library(record.flavor)
        gpu = find_gpu(request.device)
        if found := differences(record, library, gpu):
            raise ArtifactError(f"{path} cannot be opened here: {'; '.join(found)}", hint="build it again")
        return _opened(path, request, meta, library, gpu)


def _described(path: Path) -> tuple[ModelMeta, Record]:
    meta = read_sidecar(path)
    if meta is None:
        raise ArtifactError(
            f"nothing says how {path} was built", hint=f"its maker writes {sidecar_path(path).name} beside it"
        )
    return meta, read_record(meta, path)


def _opened(path: Path, request: InferRequest, meta: ModelMeta, library: Library, gpu: Gpu) -> Engine:
    from segplug_tensorrt.buffers import Cuda
    from segplug_tensorrt.engine import TensorRTEngine
    from segplug_tensorrt.log import log_of

    trt, plan = library.module, path.read_bytes()
    cuda = Cuda(gpu.index)
    cuda.use_device()
    log = log_of(trt, request.reporter)
    runtime = trt.Runtime(log)
    _check_validity(trt, runtime, plan, path, gpu)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ArtifactError(f"{library} cannot open {path}: {log.reason()}", hint="build it again")
    return TensorRTEngine(trt, engine, meta, cuda, backend=f"{library} ({gpu.name})", logger=log)


def _check_validity(trt: Any, runtime: Any, plan: bytes, path: Path, gpu: Gpu) -> None:
    """What TensorRT-RTX says of a plan beforehand; TensorRT itself has no such question."""
    ask = getattr(runtime, "get_engine_validity", None)
    if ask is None:
        return
    validity, diagnostics = ask(plan)
    if validity == trt.EngineValidity.INVALID:
        raise ArtifactError(
            f"TensorRT-RTX says that {path} does not run on {gpu.name} (diagnostics {diagnostics})",
            hint="build it again for this GPU with --device cuda",
        )


provider = TensorRTInfer()
