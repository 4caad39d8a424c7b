"""Device and pinned host memory, and a stream, through NVIDIA's cuda-bindings (12.x and 13.x)."""

from __future__ import annotations

import ctypes
from typing import Any

from segplug.errors import DeviceError, EngineError

__all__ = ["Buffer", "Cuda"]


class Cuda:
    """The few calls of the CUDA runtime that an engine needs; a failed one raises."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._runtime: Any = runtime

    def set_device(self, index: int) -> None:
        self._call("cudaSetDevice", index)

    def malloc(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def host_alloc(self, size: int) -> int:
        return int(self._call("cudaHostAlloc", size, 0))

    def host_free(self, address: int) -> None:
        self._call("cudaFreeHost", address)

    def stream_create(self) -> int:
        return int(self._call("cudaStreamCreate"))

    def stream_destroy(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def copy_to_device_async(self, device: int, host: int, size: int, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", device, host, size, kind, stream)

    def copy_to_host_async(self, host: int, device: int, size: int, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host, device, size, kind, stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def _call(self, name: str, *args: Any) -> Any:
        code, *values = getattr(self._runtime, name)(*args)
        errors = self._runtime.cudaError_t
        if code == errors.cudaErrorMemoryAllocation:
            raise DeviceError(f"{name} ran out of memory", hint="take smaller batches")
        if code != errors.cudaSuccess:
            raise EngineError(f"{name} failed: {getattr(code, 'name', code)}")
        return values[0] if values else None


class Buffer:
    """A pair of device and pinned host memory, which grows when needed and is reused otherwise."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.size = 0
        self.device = 0
        self.host = 0

    def reserve(self, size: int) -> None:
        if size <= self.size:
            return
        self.close()  # before the larger one, so that both need not fit
        try:
            self.device = self._cuda.malloc(size)
            self.host = self._cuda.host_alloc(size)
        except BaseException:
            self.close()
            raise
        self.size = size

    def view(self, size: int) -> memoryview:
        """The first bytes of the host's memory; valid until the buffer grows or is closed."""
        return memoryview((ctypes.c_ubyte * size).from_address(self.host))

    def close(self) -> None:
        device, host = self.device, self.host
        self.size = self.device = self.host = 0
        try:
            if device:
                self._cuda.free(device)
        finally:
            if host:
                self._cuda.host_free(host)
