"""Device and pinned host memory, and a stream, through NVIDIA's cuda-bindings (12.x and 13.x)."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

from segplug.errors import DeviceError, EngineError

__all__ = ["Buffer", "Cuda"]


class Cuda:
    """The few calls of the CUDA runtime that an engine needs; a failed one raises."""

    def __init__(self, device: int) -> None:
        from cuda.bindings import runtime

        self._runtime: Any = runtime
        self._device = device

    def use_device(self) -> None:
        """Select the engine's GPU for this thread: each thread has a current GPU of its own."""
        self._call("cudaSetDevice", self._device)

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
    """A pair of device and pinned host memory. It is reused, and grows when needed."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._pinned: _Pinned | None = None
        self.size = 0
        self.device = 0

    @property
    def host(self) -> int:
        """The host memory's address."""
        return self._pinned.address if self._pinned else 0

    def reserve(self, size: int) -> None:
        if size <= self.size:
            return
        self.close()  # first, so that old and new memory need not fit together
        try:
            self.device = self._cuda.malloc(size)
            self._pinned = _Pinned(self._cuda, size)
        except BaseException:
            self.close()
            raise
        self.size = size

    def view(self, size: int) -> Any:
        """The first bytes of the host memory. The view keeps the memory; the next run overwrites it."""
        assert self._pinned is not None
        return self._pinned.view(size)

    def close(self) -> None:
        device, self._pinned = self.device, None
        self.size = self.device = 0
        if device:
            self._cuda.free(device)


class _Pinned:
    """Host memory that the GPU accesses directly. It is freed when the last array that uses it is gone.

    An output may outlive its engine, so closing the engine must not free the memory below it.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda = cuda
        self.address = 0
        self.address = cuda.host_alloc(size)

    def view(self, size: int) -> Any:
        piece = (ctypes.c_ubyte * size).from_address(self.address)
        piece.owner = self  # type: ignore[attr-defined]
        return piece

    def __del__(self) -> None:
        if self.address:
            with suppress(Exception):  # CUDA may be unloaded before, at the end of the process
                self._cuda.host_free(self.address)
