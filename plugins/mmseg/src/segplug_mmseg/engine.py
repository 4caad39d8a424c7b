"""``infer pytorch``: the loaded model itself as an engine, so that every number has its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.engine import EngineSpec
from segplug.errors import DeviceError, SegplugError, ShapeError, UsageError
from segplug.hookspecs import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from segplug.model import SegmentationModel
    from segplug.requests import InferRequest

__all__ = ["PyTorchEngine", "provider"]


class PyTorchEngine:
    """Runs a :class:`SegmentationModel`. It moves the model to ``device`` and leaves it there.

    Args:
        model: The loaded model.
        device: Where to run.
        threads: CPU threads of one ``run``; ``None``: as PyTorch is set. The setting is PyTorch's for the
            whole process; ``close`` puts it back where this engine has changed it.
    """

    def __init__(self, model: SegmentationModel, device: torch.device, threads: int | None = None) -> None:
        import torch

        self._module = model.module.to(device)
        self._device = device
        self._threads_before: int | None = None
        if threads is not None:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(threads)
        self._spec = EngineSpec(
            meta=model.meta,
            output="logits",
            backend=f"pytorch {_release(torch.__version__)} ({device})",
            fresh_output=True,
        )

    @property
    def spec(self) -> EngineSpec:
        """Logits, any batch, any height and width that the network takes."""
        return self._spec

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        """Logits float32 ``(N, C, H, W)`` of a float32 ``(N, 3, H, W)`` batch."""
        import torch

        try:
            with torch.inference_mode():
                logits = self._module(torch.from_numpy(batch).to(self._device))
                result: npt.NDArray[np.generic] = logits.float().cpu().numpy()
        except SegplugError:
            raise
        except (MemoryError, RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
            if _is_lack_of_memory(error):
                raise DeviceError(
                    f"not enough memory on {self._device} for a batch of {_shape(batch)}",
                    hint="take smaller batches",
                ) from error
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ShapeError(f"the network cannot take an input of {_shape(batch)}: {reason}") from error
        return result

    def close(self) -> None:
        """Put PyTorch's number of threads back."""
        import torch

        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)


def _is_lack_of_memory(error: Exception) -> bool:
    """Of the CPU PyTorch says it in a plain RuntimeError."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _release(version: str) -> str:
    return version.split("+")[0]


def _shape(batch: npt.NDArray[np.float32]) -> str:
    return "x".join(map(str, batch.shape))


class PyTorchInfer:
    """Runs the loaded model itself in PyTorch (fp32), the reference of every comparison."""

    api_version = 1
    takes = "model"

    @hookimpl
    def infer(self, request: InferRequest) -> PyTorchEngine:
        """Wrap ``request.model``."""
        from segplug_mmseg.devices import resolve_device

        if request.model is None:
            raise UsageError("infer pytorch runs a model: give a config and its checkpoint")
        return PyTorchEngine(request.model, resolve_device(request.device), request.threads)


provider = PyTorchInfer()
