"""From a device's name to ONNX Runtime's execution providers, and the check that it kept to them."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Device", "GpuSettings", "check_used", "find"]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"

# "cuda" runs on CUDA alone; "tensorrt" leaves to CUDA what TensorRT has no kernel for. The CPU is
# always last: ONNX Runtime computes shapes there whatever the device.
_PROVIDERS = {"cpu": (_CPU,), "cuda": (_CUDA, _CPU), "tensorrt": (_TENSORRT, _CUDA, _CPU)}

_INSTALL = "onnxruntime-gpu, in place of onnxruntime: pip uninstall onnxruntime; pip install onnxruntime-gpu"


@dataclass(frozen=True)
class GpuSettings:
    """What a user may say of a run on a GPU."""

    engine_cache: Path | None = None
    """Folder of TensorRT's engines and measured kernels, made if it is not there."""
    fp16: bool = False
    workspace_size: float | None = None
    """GiB."""

    def options(self, provider: str) -> dict[str, str]:
        """The same in an execution provider's own words."""
        size = None if self.workspace_size is None else str(int(self.workspace_size * (1 << 30)))
        if provider == _CUDA:
            return {} if size is None else {"gpu_mem_limit": size}
        said = {}
        if self.engine_cache is not None:
            folder = str(self.engine_cache)
            said["trt_engine_cache_enable"] = "1"
            said["trt_engine_cache_path"] = folder
            said["trt_timing_cache_enable"] = "1"
            said["trt_timing_cache_path"] = folder
        if self.fp16:
            said["trt_fp16_enable"] = "1"
        if size is not None:
            said["trt_max_workspace_size"] = size
        return said


_NO_SETTINGS = GpuSettings()


@dataclass(frozen=True)
class Device:
    """A device that this ONNX Runtime was built for; whether it is there, opening shows."""

    name: str
    """As the user wrote it."""
    providers: tuple[str | tuple[str, dict[str, Any]], ...]
    """What ``InferenceSession`` takes."""
    required: tuple[str, ...]
    """Execution providers that the session must have in the end."""
    settings: GpuSettings = _NO_SETTINGS

    @property
    def said(self) -> dict[str, str]:
        """What the user's settings are in the words of the first provider, which they are about."""
        return self.settings.options(self.required[0]) if self.required else {}


def find(name: str, settings: GpuSettings = _NO_SETTINGS) -> Device:
    """The execution providers for ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt`` or ``tensorrt:1``.

    Raises:
        UsageError: no such device is known, or the settings are not for it.
        DeviceError: the installed ONNX Runtime was not built for it.
    """
    import onnxruntime

    kind, _, index = name.partition(":")
    if kind not in _PROVIDERS or (index and (kind == "cpu" or not index.isdecimal())):
        raise UsageError(
            f"infer onnxruntime knows no device '{name}'",
            hint="use cpu, cuda, cuda:N, tensorrt or tensorrt:N",
        )
    _check_fits(kind, settings)
    required = tuple(provider for provider in _PROVIDERS[kind] if provider != _CPU)
    available = onnxruntime.get_available_providers()
    missing = [provider for provider in required if provider not in available]
    if missing:
        raise DeviceError(
            f"device '{name}' needs {' and '.join(missing)}; "
            f"the installed onnxruntime {onnxruntime.__version__} has {', '.join(available)}",
            hint=f"install {_INSTALL}",
        )
    if required:
        _load_cuda_libraries(onnxruntime)
    number = int(index or 0)
    options = {_CUDA: _cuda_options(number), _TENSORRT: {"device_id": number}, _CPU: {}}
    if required:
        options[required[0]].update(settings.options(required[0]))
    providers = tuple((provider, options[provider]) for provider in _PROVIDERS[kind])
    return Device(name, providers, required, settings)


def _check_fits(kind: str, settings: GpuSettings) -> None:
    for flag, given, kinds in (
        ("--engine-cache", settings.engine_cache is not None, ("tensorrt",)),
        ("--fp16", settings.fp16, ("tensorrt",)),
        ("--workspace-size", settings.workspace_size is not None, ("tensorrt", "cuda")),
    ):
        if given and kind not in kinds:
            raise UsageError(
                f"{flag} is not for device '{kind}'",
                hint=f"use --device {' or '.join(kinds)}, or leave it away",
            )


def _cuda_options(index: int) -> dict[str, Any]:
    return {
        "device_id": index,
        # An fp32 model is run in fp32: TensorFloat-32 would be faster and differ in the third digit.
        "use_tf32": "0",
        # Memory grows by what a new shape needs, not in powers of two.
        "arena_extend_strategy": "kSameAsRequested",
        # The exhaustive search times every algorithm again for each new shape.
        "cudnn_conv_algo_search": "HEURISTIC",
    }


def _load_cuda_libraries(onnxruntime: Any) -> None:
    """Let ONNX Runtime find the CUDA libraries of pip packages; without them, opening says so."""
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError):
            preload()


def check_used(session: onnxruntime.InferenceSession, device: Device, *, why: str = "") -> None:
    """Refuse a session that fell back to another device, or left a setting aside.

    Raises:
        DeviceError: an execution provider of ``device`` could not be started, or does not know a setting.
    """
    used = session.get_providers()
    lost = [provider for provider in device.required if provider not in used]
    if lost:
        raise DeviceError(
            f"device '{device.name}' is not there: ONNX Runtime could not start {' and '.join(lost)} "
            f"and would run on {', '.join(used)}{f': {why}' if why else ''}",
            hint="check the driver with nvidia-smi, and which CUDA and cuDNN onnxruntime-gpu wants",
        )
    if device.said:
        taken = session.get_provider_options().get(device.required[0], {})
        ignored = [key for key, value in device.said.items() if str(taken.get(key)) != value]
        if ignored:
            raise DeviceError(
                f"{device.required[0]} did not take over {', '.join(ignored)}",
                hint="another version of onnxruntime-gpu may, or leave the option away",
            )
