"""``infer openvino``: run an ONNX artifact with OpenVINO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug import Axis, Backend, EngineSpec, ModelMeta, hookimpl, option
from segplug.errors import ArtifactError, DeviceError, ShapeError
from segplug.requests import InferRequest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import openvino


@dataclass(frozen=True)
class Options:
    """Flags of ``segplug infer openvino`` and keywords of ``Segplug.open(backend="openvino")``."""

    arithmetic: Literal["f32", "bf16", "f16"] = option(
        "f32",
        help="Precision that OpenVINO computes in. OpenVINO's own default is the fastest of the processor.",
    )


class OpenVinoEngine:
    """A compiled model. Input float32 ``(N, C, H, W)``, output the artifact's labels or scores."""

    def __init__(self, compiled: openvino.CompiledModel, spec: EngineSpec) -> None:
        self._request = compiled.create_infer_request()
        self.spec = spec

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Run one batch."""
        try:
            output: npt.NDArray[Any] = self._request.infer({0: batch}, share_inputs=True)[0]
        except RuntimeError as error:
            raise ShapeError(f"OpenVINO cannot run {batch.shape}: {_first_line(error)}") from error
        return output

    def close(self) -> None:
        """Free the model."""
        del self._request


class OpenVino(Backend[Options]):
    """Runs an ONNX artifact with OpenVINO."""

    hook_version = 2
    options = Options
    reads = ("onnx",)

    @hookimpl
    def infer(self, request: InferRequest[Options]) -> OpenVinoEngine:
        """Open ``request.file``; see :func:`segplug.hookspecs.infer`."""
        import openvino

        core = openvino.Core()
        device = request.device.upper()
        if device not in core.available_devices:
            raise DeviceError(f"OpenVINO has {', '.join(core.available_devices)}, not {device}")
        try:
            model = core.read_model(request.file)
        except RuntimeError as error:
            raise ArtifactError(f"OpenVINO cannot read {request.file}: {_first_line(error)}") from error
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": request.options.arithmetic}
        if request.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = request.threads
        spec = _spec(model, request.file, f"openvino {openvino.__version__.split('-')[0]} ({device})")
        return OpenVinoEngine(core.compile_model(model, device, settings), spec)


def _spec(model: openvino.Model, path: Path, backend: str) -> EngineSpec:
    where = ["framework", "segplug.meta"]  # where OpenVINO keeps an ONNX file's metadata
    if not model.has_rt_info(where):
        raise ArtifactError(f"{path} was not exported by segplug", hint="segplug export onnx ...")
    meta = ModelMeta.from_json(model.get_rt_info(where).value, file=path)
    batch, _, height, width = (_axis(dimension) for dimension in model.input(0).partial_shape)
    return EngineSpec(
        meta=meta,
        output="logits" if model.output(0).element_type.is_real() else "labels",
        batch=batch,
        height=height,
        width=width,
        backend=backend,
        fresh_output=True,
    )


def _axis(dimension: Any) -> Axis:
    return Axis() if dimension.is_dynamic else Axis.fixed(dimension.get_length())


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


provider = OpenVino()
