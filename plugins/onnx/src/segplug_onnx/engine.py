"""``infer onnxruntime``: open an ONNX file as an engine. Needs onnxruntime and numpy, nothing else."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.engine import Engine, EngineSpec
from segplug.errors import DeviceError, ShapeError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.providers import Backend
from segplug.requests import InferRequest
from segplug_onnx import devices, foreign, made, metadata
from segplug_onnx.external import external_files, require_external_files
from segplug_onnx.session import error_text, open_session
from segplug_onnx.shapes import find_stride
from segplug_onnx.tensors import Tensors
from segplug_onnx.undefined import refuse_undefined

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnxruntime

__all__ = ["OnnxEngine", "provider"]


class OnnxRuntime(Backend[foreign.Options]):
    """Runs an ONNX file, segplug's own or any other, in ONNX Runtime, on the CPU or a GPU.

    A file that segplug exported holds its own metadata, and files of Ultralytics, optimum-onnx and mmdeploy
    have that of their tools. For any other ONNX file, describe the input and the output with the options
    --output-name to --threshold.
    """

    hook_version = 2
    options = foreign.Options
    reads = ("onnx",)

    def check_device(self, device: str) -> None:
        """Raise the error of opening a file on ``device``, if the installed ONNX Runtime cannot use it."""
        devices.find(device)

    @hookimpl
    def infer(self, request: InferRequest[foreign.Options]) -> Engine:
        """Open ``request.artifact``; see :func:`segplug.hookspecs.infer`."""
        meta = metadata.read_meta(request.file)
        require_external_files(request.file)
        engine = _open_foreign(request) if meta is None else _open_exported(request, meta)
        if engine.spec.output == "labels" and not request.allow_nonfinite:
            refuse_undefined(request.file)
        return engine

    def companions(self, artifact: Path) -> Iterable[Path]:
        """The files beside a model's ONNX file that hold its weights."""
        return external_files(artifact)


@dataclass(frozen=True)
class _Details:
    """What the exporter notes of a file, as far as it is needed to run it."""

    output_kind: str | None = None
    logits: str | None = None
    """The name of the scores in a graph that gives labels."""


def _open_foreign(request: InferRequest[foreign.Options]) -> OnnxEngine:
    session = open_session(request)
    on_cpu = functools.cache(lambda: _on_cpu(request, session))
    tensors, meta = made.describe(request, session, on_cpu)
    if not tensors.labels:
        stride = find_stride(tensors, meta.in_channels, _shapes(session, tensors), on_cpu)
        tensors, meta = replace(tensors, stride=stride), meta.replace(output_stride=stride or 1)
    return OnnxEngine(session, meta, tensors, device=_device_text(request))


def _shapes(session: onnxruntime.InferenceSession, tensors: Tensors) -> tuple[Sequence[Any], Sequence[Any]]:
    """The shapes of the input and the output."""
    inputs = {node.name: node.shape for node in session.get_inputs()}
    return inputs[tensors.input], {node.name: node.shape for node in session.get_outputs()}[tensors.output]


def _on_cpu(
    request: InferRequest[foreign.Options], session: onnxruntime.InferenceSession
) -> onnxruntime.InferenceSession:
    """The same file on the CPU: TensorRT would build an engine for every size that is tried."""
    if request.device == "cpu":
        return session
    return open_session(replace(request, device="cpu", options=foreign.Options()))


def _open_exported(request: InferRequest[foreign.Options], meta: ModelMeta) -> OnnxEngine:
    details = meta.extra_as("onnx", _Details, file=request.file)
    labels, output = details.output_kind == "labels", "output"
    foreign.check_consistent(request.file, meta, request.options, labels=labels)
    model = None
    if request.want_logits and labels and details.logits is not None:
        labels, output = False, details.logits
        model = metadata.with_extra_output(request.file, output)
        meta = meta.replace(
            output_stride=1, output_size=None
        )  # labels are made of scores at the input's size
    session = open_session(request, model)
    tensors = Tensors("input", output, labels, stride=meta.output_stride, size=meta.output_size)
    return OnnxEngine(session, meta, tensors, device=_device_text(request))


def _device_text(request: InferRequest[foreign.Options]) -> str:
    return f"{request.device}, fp16" if request.options.fp16 else request.device


class OnnxEngine:
    """An ONNX Runtime session behind the engine contract (:class:`segplug.engine.Engine`)."""

    def __init__(
        self, session: onnxruntime.InferenceSession, meta: ModelMeta, tensors: Tensors, *, device: str
    ) -> None:
        import onnxruntime

        self._session: onnxruntime.InferenceSession | None = session
        self._tensors = tensors
        batch, height, width = tensors.axes(_shapes(session, tensors)[0])
        self._spec = EngineSpec(
            meta=meta,
            output="labels" if tensors.labels else "logits",
            batch=batch,
            height=height,
            width=width,
            backend=f"onnxruntime {onnxruntime.__version__} ({device})",
            fresh_output=True,
        )

    @property
    def spec(self) -> EngineSpec:
        """What the engine accepts and returns."""
        return self._spec

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        """Run one batch; see :meth:`segplug.engine.Engine.run`."""
        if self._session is None:
            raise UsageError("this engine is closed")
        tensors = self._tensors
        try:
            (output,) = self._session.run([tensors.output], {tensors.input: tensors.to_input(batch)})
        except Exception as error:
            raise _run_error(batch, error) from error
        height, width = batch.shape[2:]
        return tensors.from_output(output, (height, width))

    def close(self) -> None:
        """Free the session and its memory."""
        self._session = None


def _run_error(batch: npt.NDArray[Any], error: Exception) -> DeviceError | ShapeError:
    text = error_text(error)
    if any(sign in text.lower() for sign in ("alloc", "out of memory")):
        return DeviceError(f"onnxruntime ran out of memory on an input of shape {batch.shape}: {text}")
    return ShapeError(f"the model cannot take an input of shape {batch.shape}: {text}")


provider = OnnxRuntime()
