"""Choose ONNX Runtime's execution providers for a device, and check that a session uses them."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import DeviceError, MissingDependencyError, UsageError

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
    """A user's settings for a run on a GPU."""

    engine_cache: Path | None = None
    """Folder for TensorRT's engines and kernel timings; created if it does not exist."""
    fp16: bool = False
    workspace_size: float | None = None
    """GiB."""

    def options(self, provider: str) -> dict[str, str]:
        """The settings as options of an execution provider."""
        size = None if self.workspace_size is None else str(int(self.workspace_size * (1 << 30)))
        if provider == _CUDA:
            return {} if size is None else {"gpu_mem_limit": size}
        options = {}
        if self.engine_cache is not None:
            folder = str(self.engine_cache)
            options["trt_engine_cache_enable"] = "1"
            options["trt_engine_cache_path"] = folder
            options["trt_timing_cache_enable"] = "1"
            options["trt_timing_cache_path"] = folder
        if self.fp16:
            options["trt_fp16_enable"] = "1"
        if size is not None:
            options["trt_max_workspace_size"] = size
        return options


_NO_SETTINGS = GpuSettings()


@dataclass(frozen=True)
class Device:
    """A device that this ONNX Runtime supports. Only opening a session shows whether the machine has it."""

    name: str
    """As the user wrote it."""
    providers: tuple[str | tuple[str, dict[str, Any]], ...]
    """What ``InferenceSession`` takes."""
    required: tuple[str, ...]
    """Execution providers that the opened session must use."""
    settings: GpuSettings = _NO_SETTINGS

    @property
    def provider_options(self) -> dict[str, str]:
        """The user's settings as options of the first execution provider."""
        return self.settings.options(self.required[0]) if self.required else {}


def find(name: str, settings: GpuSettings = _NO_SETTINGS) -> Device:
    """The execution providers for ``cpu``, ``cuda``, ``cuda:1``, ``tensorrt`` or ``tensorrt:1``.

    Raises:
        UsageError: there is no such device name, or a setting does not apply to the device.
        DeviceError: the installed ONNX Runtime was not built for it.
        MissingDependencyError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "infer onnxruntime needs onnxruntime", hint="pip install onnxruntime"
        ) from error

    kind, _, index = name.partition(":")
    if kind not in _PROVIDERS or (index and (kind == "cpu" or not index.isdecimal())):
        raise UsageError(
            f"infer onnxruntime has no device '{name}'",
            hint="use cpu, cuda, cuda:N, tensorrt or tensorrt:N",
        )
    _check_settings(kind, settings)
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


def _check_settings(kind: str, settings: GpuSettings) -> None:
    for flag, given, kinds in (
        ("--engine-cache", settings.engine_cache is not None, ("tensorrt",)),
        ("--fp16", settings.fp16, ("tensorrt",)),
        ("--workspace-size", settings.workspace_size is not None, ("tensorrt", "cuda")),
    ):
        if given and kind not in kinds:
            raise UsageError(
                f"{flag} does not apply to device '{kind}'",
                hint=f"use --device {' or '.join(kinds)}, or leave out {flag}",
            )


def _cuda_options(index: int) -> dict[str, Any]:
    return {
        "device_id": index,
        # fp32 models run in fp32. TensorFloat-32 would be faster, but differs in the third digit.
        "use_tf32": "0",
        # Allocate what a new shape needs, not the next power of two.
        "arena_extend_strategy": "kSameAsRequested",
        # The default search times every algorithm again for each new shape.
        "cudnn_conv_algo_search": "HEURISTIC",
    }


def _load_cuda_libraries(onnxruntime: Any) -> None:
    """Let ONNX Runtime find the CUDA libraries of pip packages. Without them, opening a session fails."""
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError):
            preload()


def check_used(session: onnxruntime.InferenceSession, device: Device, *, why: str = "") -> None:
    """Refuse a session that fell back to another device, or ignored a setting.

    Raises:
        DeviceError: an execution provider of ``device`` did not start, or ignored a setting.
    """
    used = session.get_providers()
    lost = [provider for provider in device.required if provider not in used]
    if lost:
        raise DeviceError(
            f"device '{device.name}' is not available: ONNX Runtime could not start {' and '.join(lost)} "
            f"and fell back to {', '.join(used)}{f': {why}' if why else ''}",
            hint="check the driver with nvidia-smi, and which CUDA and cuDNN onnxruntime-gpu needs",
        )
    if device.provider_options:
        taken = session.get_provider_options().get(device.required[0], {})
        ignored = [key for key, value in device.provider_options.items() if str(taken.get(key)) != value]
        if ignored:
            raise DeviceError(
                f"{device.required[0]} ignored {', '.join(ignored)}",
                hint="leave out the option, or install another version of onnxruntime-gpu",
            )
