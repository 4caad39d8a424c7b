"""A function of PyTorch tensors as an engine: a loaded model, or a file that PyTorch has opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from segplug.engine import Axis, EngineSpec
from segplug.errors import DeviceError, SegplugError, ShapeError, UsageError
from segplug_torch.errors import is_out_of_memory, one_line, refusals

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from segplug.model import ModelMeta

__all__ = ["TorchEngine"]


class TorchEngine:
    """Runs a function of tensors.

    Args:
        function: float32 ``(N, meta.in_channels, H, W)`` to float32 scores ``(N, C, h, w)`` of the
            size ``meta.scores_size((H, W))``; both on ``device``.
        meta: The metadata of the model.
        device: Where ``function`` runs.
        backend: The name of the ``infer`` target.
        batch: The batch sizes that ``function`` takes.
        height: The heights that it takes.
        width: The widths that it takes.
        threads: CPU threads of one ``run``; ``None``: PyTorch's own setting. The setting counts for the
            whole process; ``close`` restores it.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        meta: ModelMeta,
        *,
        device: torch.device,
        backend: str,
        batch: Axis = Axis(),  # noqa: B008 - frozen
        height: Axis = Axis(),  # noqa: B008
        width: Axis = Axis(),  # noqa: B008
        threads: int | None = None,
    ) -> None:
        import torch

        self._function: Callable[[torch.Tensor], torch.Tensor] | None = function
        self._device = device
        self._threads_before = None if threads is None else torch.get_num_threads()
        if threads is not None:
            torch.set_num_threads(threads)
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
        """Scores, of the sizes that the function takes."""
        return self._spec

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        """Scores, float32 ``(N, C, h, w)``, of a float32 ``(N, meta.in_channels, H, W)`` batch."""
        import torch

        if self._function is None:
            raise UsageError("this engine is closed")
        self._check(batch)
        try:
            with torch.inference_mode():
                # A copy: a network may normalise its input in place, and the caller uses the batch again.
                scores = self._function(torch.from_numpy(batch).to(self._device, copy=True))
                result: npt.NDArray[np.generic] = scores.float().cpu().numpy()
        except SegplugError:
            raise
        except refusals() as error:
            if is_out_of_memory(error):
                raise DeviceError(
                    f"not enough memory on {self._device} for a batch of {_shape(batch)}",
                    hint="take smaller batches",
                ) from error
            raise ShapeError(
                f"the network cannot take an input of {_shape(batch)}: {one_line(error)}"
            ) from error
        height, width = batch.shape[2:]
        if result.shape[:1] + result.shape[2:] != (len(batch), *self._spec.meta.scores_size((height, width))):
            raise ShapeError(
                f"the network cannot take an input of {_shape(batch)}: its scores are {_shape(result)}"
            )
        return result

    def close(self) -> None:
        """Free the function and restore PyTorch's number of threads, if this engine has changed it."""
        import torch

        self._function = None
        if self._threads_before is not None:
            torch.set_num_threads(self._threads_before)
            self._threads_before = None

    def _check(self, batch: npt.NDArray[np.float32]) -> None:
        """At other sizes than its own, a trace gives wrong results and compiled code reads wrong memory."""
        spec, (count, channels, height, width) = self._spec, batch.shape
        if channels != spec.meta.in_channels:
            raise ShapeError(
                f"the network cannot take an input of {_shape(batch)}: its number of channels is "
                f"{spec.meta.in_channels}"
            )
        for axis, size in ((spec.batch, count), (spec.height, height), (spec.width, width)):
            if not axis.accepts(size):
                raise ShapeError(
                    f"the network cannot take an input of {_shape(batch)}: it takes batches of {spec.batch}, "
                    f"heights of {spec.height} and widths of {spec.width}"
                )


def _shape(array: npt.NDArray[Any]) -> str:
    return "x".join(map(str, array.shape))
