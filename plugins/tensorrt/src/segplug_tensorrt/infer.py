"""``infer tensorrt``: run a TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segplug.artifact import read_sidecar, sidecar_path
from segplug.engine import Engine
from segplug.errors import ArtifactError, DeviceError
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.options import NoOptions
from segplug.providers import Backend
from segplug.regular_files import read_regular
from segplug.requests import InferRequest
from segplug_tensorrt.driver import Gpu, find_gpu
from segplug_tensorrt.library import Library, load_library
from segplug_tensorrt.record import Record, check_plan, differences, read_record

__all__ = ["provider"]

_LARGEST = 64 << 30
"""Bytes; no GPU that the library supports runs a larger plan with its memory."""


class TensorRTInfer(Backend[NoOptions]):
    """Runs TensorRT and TensorRT-RTX engines, on a GPU of the kind that they were built for.

    build_engine tensorrt and torch-tensorrt make them. The file beside an engine (<engine>.json), which
    records how it was built, is checked first.
    """

    hook_version = 2
    reads = ("tensorrt", "torch-tensorrt")
    default_device = "cuda"

    def check_device(self, device: str) -> None:
        """Raise the error of opening an engine on ``device``, if there is no such GPU."""
        if device == "cpu":
            raise DeviceError("TensorRT runs on a GPU only", hint="--device cuda")
        find_gpu(device)

    @hookimpl
    def infer(self, request: InferRequest[NoOptions]) -> Engine:
        """Open ``request.artifact``; see :func:`segplug.hookspecs.infer`."""
        path = request.file
        meta, record = _read_record(path)
        check_plan(record, path)
        self.check_device(request.device)
        library = load_library(record.flavor)
        gpu = find_gpu(request.device)
        if found := differences(record, library, gpu):
            raise ArtifactError(f"{path} cannot be opened here: {'; '.join(found)}", hint="build it again")
        return _open(path, request, meta, library, gpu)


def _read_record(path: Path) -> tuple[ModelMeta, Record]:
    meta = read_sidecar(path)
    if meta is None:
        raise ArtifactError(
            f"there is no record of how {path} was built",
            hint=f"build_engine writes it beside the engine, as {sidecar_path(path).name}",
        )
    return meta, read_record(meta, path)


def _open(
    path: Path, request: InferRequest[NoOptions], meta: ModelMeta, library: Library, gpu: Gpu
) -> Engine:
    from segplug_tensorrt.buffers import Cuda
    from segplug_tensorrt.engine import TensorRTEngine
    from segplug_tensorrt.log import get_log

    trt, plan = library.module, read_regular(path, most_bytes=_LARGEST)
    cuda = Cuda(gpu.index)
    cuda.use_device()
    log = get_log(trt, request.reporter)
    # It refuses plans with code for the CPU in them, unless it is told otherwise (engine_host_code_allowed).
    runtime = trt.Runtime(log)
    _check_validity(trt, runtime, plan, path, gpu)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ArtifactError(f"{library} cannot open {path}: {log.reason()}", hint="build it again")
    return TensorRTEngine(trt, engine, meta, cuda, backend=f"{library} ({gpu.name})", logger=log)


def _check_validity(trt: Any, runtime: Any, plan: bytes, path: Path, gpu: Gpu) -> None:
    """Ask TensorRT-RTX whether a plan runs on this GPU. TensorRT itself has no such function."""
    get_validity = getattr(runtime, "get_engine_validity", None)
    if get_validity is None:
        return
    validity, diagnostics = get_validity(plan)
    if validity == trt.EngineValidity.INVALID:
        raise ArtifactError(
            f"TensorRT-RTX says that {path} does not run on {gpu.name} (diagnostics {diagnostics})",
            hint="build it again for this GPU with --device cuda",
        )


provider = TensorRTInfer()
