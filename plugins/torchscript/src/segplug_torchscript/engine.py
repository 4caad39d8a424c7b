"""A PyTorch function behind the engine contract, whatever file it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from segplug.engine import Axis, EngineSpec
from segplug.errors import DeviceError, SegplugError, ShapeError, UsageError
from segplug_torchscript.reason import reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from segplug.model import ModelMeta

__all__ = ["TorchEngine", "axes_of"]


def axes_of(meta: ModelMeta, free: tuple[str, ...]) -> tuple[Axis, Axis, Axis]:
    """Batch, height and width of a file of which the axes named in ``free`` vary."""
    height, width = meta.input_size or (1, 1)
    fixed = {"batch": 1, "height": height, "width": width}
    batch, rows, columns = (Axis() if name in free else Axis.fixed(size) for name, size in fixed.items())
    return batch, rows, columns


class TorchEngine:
    """Runs a function of tensors.

    Args:
        function: float32 ``(N, 3, H, W)`` to float32 logits ``(N, C, H, W)``, both on ``device``.
        meta: What the file says of itself.
        free: The axes that vary, of ``batch``, ``height`` and ``width``.
        device: Where ``function`` runs.
        backend: The target's name.
        threads: CPU threads of one ``run``; ``None``: PyTorch's own default. The setting is PyTorch's for
            the whole process; ``close`` puts it back.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        meta: ModelMeta,
        *,
        free: tuple[str, ...],
        device: torch.device,
        backend: str,
        threads: int | None = None,
    ) -> None:
        import torch

        self._function: Callable[[torch.Tensor], torch.Tensor] | None = function
        self._device = device
        self._threads_before = None if threads is None else torch.get_num_threads()
        if threads is not None:
            torch.set_num_threads(threads)
        batch, height, width = axes_of(meta, free)
        self._spec = EngineSpec(
            meta=meta,
            output="logits",
            batch=batch,
            height=height,
            width=width,
            backend=f"{backend} {torch.__version__.split('+')[0]} ({device})",
            fresh_output=True,
        )

    @property
    def spec(self) -> EngineSpec:
        """Logits, of the sizes that the file takes."""
        return self._spec

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        """Logits float32 ``(N, C, H, W)`` of a float32 ``(N, 3, H, W)`` batch."""
        import torch

        if self._function is None:
            raise UsageError("this engine is closed")
        self._check(batch)
        try:
            with torch.inference_mode():
                logits = self._function(torch.from_numpy(batch).to(self._device))
                result: npt.NDArray[np.generic] = logits.float().cpu().numpy()
        except SegplugError:
            raise
        except (MemoryError, RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
            if _is_lack_of_memory(error):
                raise DeviceError(
                    f"not enough memory on {self._device} for a batch of {_shape(batch)}",
                    hint="take smaller batches",
                ) from error
            raise ShapeError(f"the file cannot take an input of {_shape(batch)}: {reason(error)}") from error
        return result

    def close(self) -> None:
        """Free the network and put PyTorch's number of threads back, if this engine has changed it."""
        import torch

        self._function = None
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)

    def _check(self, batch: npt.NDArray[np.float32]) -> None:
        """At a size that it was not made for, a trace answers wrongly and compiled code reads amiss."""
        spec, (count, _, height, width) = self._spec, batch.shape
        for axis, size in ((spec.batch, count), (spec.height, height), (spec.width, width)):
            if not axis.accepts(size):
                raise ShapeError(
                    f"the file cannot take an input of {_shape(batch)}: it takes batches of {spec.batch}, "
                    f"heights of {spec.height} and widths of {spec.width}"
                )


_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What PyTorch says in a plain RuntimeError: of the CPU always, of a GPU where TorchScript ran out of it."""


def _is_lack_of_memory(error: Exception) -> bool:
    import torch

    said = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        part in said for part in _NO_MEMORY
    )


def _shape(batch: npt.NDArray[np.float32]) -> str:
    return "x".join(map(str, batch.shape))
