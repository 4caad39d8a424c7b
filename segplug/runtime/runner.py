"""Call an engine with batches that it takes, check its outputs, and measure its time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import EngineError, PluginError
from segplug.runtime.planes import labels_type

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine

__all__ = ["Runner"]


_ROUNDING = 1e-2
"""How far below 0 rounding may bring a probability, in half precision and with a resize inside."""


class Runner:
    """Runs batches on an engine: fills them up to a batch size that it takes, and checks the output.

    Args:
        engine: The engine; the caller closes it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.spec = engine.spec
        self.seconds = 0.0
        """Time spent in ``engine.run``."""
        self._unchecked_probabilities = self.spec.meta.scores == "probabilities"
        self._labels = labels_type(self.spec.meta)

    def group_size(self, wanted: int) -> int:
        """The number of inputs to collect for one batch, if the user wants ``wanted``."""
        axis = self.spec.batch
        if axis.is_fixed:
            return axis.minimum
        largest = wanted if axis.maximum is None else min(wanted, axis.maximum)
        return max(largest, 1)

    def __call__(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run ``(N, C, H, W)`` or images ``(N, H, W, C)``; the output has as many entries as the batch.

        Returns:
            float32 scores ``(N, C, h, w)`` or unsigned labels ``(N, H, W)``, which the caller may keep.

        Raises:
            PluginError: the engine's output is not what its spec says.
        """
        count = len(batch)
        filled = self._filled(batch)
        start = time.perf_counter()
        output = self.engine.run(filled)
        self.seconds += time.perf_counter() - start
        self._check(output, filled)
        if self.spec.output == "labels":
            self._check_labels(output[:count])
            return output[:count].astype(self._labels)
        if self._unchecked_probabilities:
            self._check_probabilities(output)
        if self.spec.fresh_output and output.dtype == np.float32:
            return output[:count]
        return output[:count].astype(np.float32)

    def _check_probabilities(self, scores: npt.NDArray[Any]) -> None:
        """Refuse a first output that cannot be probabilities: a model's description may be wrong."""
        self._unchecked_probabilities = False
        if (lowest := float(scores.min())) < -_ROUNDING:
            raise EngineError(
                f"the engine {self.spec.backend} gave a score of {lowest:.3g}, but its model is described as "
                "one that gives probabilities",
                hint="describe its scores as logits",
            )

    def _check_labels(self, labels: npt.NDArray[Any]) -> None:
        """Refuse labels that are no class: converted to the smaller type, they could become a valid label."""
        known = self.spec.meta.num_labels
        for label in (int(labels.min()), int(labels.max())):
            if not 0 <= label < (known or np.iinfo(self._labels).max + 1):
                raise PluginError(
                    f"the engine {self.spec.backend} gave the label {label}, but the model has "
                    f"{known} labels, from 0"
                )

    def _filled(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The batch, filled up with copies of its last input to a size that the engine takes."""
        axis = self.spec.batch
        size = max(math.ceil(len(batch) / axis.multiple_of) * axis.multiple_of, axis.minimum)
        if size == len(batch):
            return np.ascontiguousarray(batch)
        return np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])

    def _check(self, output: Any, batch: npt.NDArray[Any]) -> None:
        count = len(batch)
        height, width = batch.shape[1:3] if self.spec.input == "image" else batch.shape[2:]
        shape = tuple(getattr(output, "shape", ()))
        kind = output.dtype.kind if shape else ""
        if self.spec.output == "labels":
            wanted = f"integer labels ({count}, {height}, {width})"
            right = kind in "iub" and shape == (count, height, width)
        else:
            channels = self.spec.meta.out_channels or "C"
            height, width = self.spec.meta.scores_size((height, width))
            wanted = f"float scores ({count}, {channels}, {height}, {width})"
            right = kind == "f" and len(shape) == 4 and (shape[0], *shape[2:]) == (count, height, width)
            right = right and channels in (shape[1], "C")
        if not right:
            got = f"{output.dtype} {shape}" if shape else type(output).__name__
            raise PluginError(f"the engine {self.spec.backend} gave {got} where its spec says {wanted}")
