"""Find GPUs through the CUDA driver. TensorRT itself crashes the process if there is no driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segplug.errors import DeviceError, MissingDependencyError, UsageError

__all__ = ["Gpu", "cuda_version", "find_gpu"]


@dataclass(frozen=True)
class Gpu:
    """One GPU that the driver finds."""

    index: int
    name: str
    compute_capability: tuple[int, int]


def find_gpu(device: str) -> Gpu:
    """The GPU that ``cuda`` or ``cuda:N`` names.

    Raises:
        UsageError: ``device`` is not the name of a GPU.
        DeviceError: there is no driver, or no such GPU.
        MissingDependencyError: cuda-bindings is not installed.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise UsageError(f"TensorRT has no device '{device}'", hint="use cuda or cuda:N")
    driver = _start_driver()
    index = int(number or 0)
    count = _checked(driver, driver.cuDeviceGetCount())
    if index >= count:
        raise DeviceError(f"there is no device {device}: the driver finds {count} GPUs")
    handle = _checked(driver, driver.cuDeviceGet(index))
    name = _checked(driver, driver.cuDeviceGetName(128, handle))
    attribute = driver.CUdevice_attribute
    major, minor = (
        int(_checked(driver, driver.cuDeviceGetAttribute(which, handle)))
        for which in (
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    return Gpu(index, name.decode().rstrip("\0"), (major, minor))


def cuda_version() -> str:
    """The CUDA version that the driver supports: ``13.0``. Raises as :func:`find_gpu` does."""
    driver = _start_driver()
    number = _checked(driver, driver.cuDriverGetVersion())
    return f"{number // 1000}.{number % 1000 // 10}"


def _start_driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise MissingDependencyError(
            "using a GPU needs cuda-bindings", hint="pip install cuda-bindings"
        ) from error
    try:
        _checked(driver, driver.cuInit(0))
    except RuntimeError as error:  # cuda-bindings raises it if there is no libcuda
        raise _no_driver(str(error)) from error
    return driver


def _checked(driver: Any, answer: tuple[Any, ...]) -> Any:
    code, *values = answer
    if code != driver.CUresult.CUDA_SUCCESS:
        raise _no_driver(code.name)
    return values[0] if values else None


def _no_driver(reason: str) -> DeviceError:
    return DeviceError(f"no GPU can be used: {reason}", hint="check the driver with nvidia-smi")
