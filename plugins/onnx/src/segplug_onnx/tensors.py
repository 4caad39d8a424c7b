"""The input and output tensor of a graph, converted from and to the layout of the engine contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from segplug.engine import Axis
from segplug.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["OutputKind", "Tensors"]

OutputKind = Literal["logits", "probabilities", "labels"]


@dataclass(frozen=True)
class Tensors:
    """The input and the output of a graph."""

    input: str
    output: str
    kind: OutputKind
    channels_last: bool = False
    """Input ``(N, H, W, 3)``, and, for logits and probabilities, output ``(N, H, W, C)``."""
    half: bool = False
    """The input is float16."""

    def axes(self, shape: Sequence[Any]) -> tuple[Axis, Axis, Axis]:
        """Batch, height and width that an input of this shape accepts. An axis without a number is free."""
        batch, height, width = (shape[axis] for axis in ((0, 1, 2) if self.channels_last else (0, 2, 3)))
        return _axis(batch), _axis(height), _axis(width)

    def to_input(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """A float32 ``(N, 3, H, W)`` batch in the layout and type of the graph's input."""
        import numpy as np

        array: npt.NDArray[Any] = batch.transpose(0, 2, 3, 1) if self.channels_last else batch
        return np.ascontiguousarray(array, dtype=np.float16 if self.half else np.float32)

    def from_output(self, output: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
        """The graph's output in the layout of the engine contract, for an input of ``size`` (height, width).

        Raises:
            ArtifactError: the output's rank or size does not fit its kind.
        """
        if self.kind == "labels":
            return _labels(output, size, self.output)
        import numpy as np

        logits = output[:, None] if output.ndim == 3 else output
        if logits.ndim != 4:
            raise ArtifactError(
                f"the output {self.output} has shape {output.shape}, not that of {self.kind} of images"
            )
        if self.channels_last and output.ndim == 4:
            logits = logits.transpose(0, 3, 1, 2)
        logits = np.ascontiguousarray(logits, dtype=np.float32)
        if self.kind == "probabilities":
            logits = _log_odds(logits) if logits.shape[1] == 1 else _log(logits)
        return logits if logits.shape[2:] == size else _resize(logits, size)


def _axis(size: Any) -> Axis:
    return Axis.fixed(size) if isinstance(size, int) and size > 0 else Axis()


def _labels(output: npt.NDArray[Any], size: tuple[int, int], name: str) -> npt.NDArray[Any]:
    import numpy as np

    labels = output
    if labels.ndim == 4:
        labels = labels.reshape(
            labels.shape[0], *(labels.shape[1:3] if labels.shape[3] == 1 else labels.shape[2:])
        )
    if labels.shape[1:] != size:
        raise ArtifactError(
            f"the output {name} has shape {output.shape}, not that of labels of {size[0]}x{size[1]}"
        )
    return labels if labels.dtype.kind in "iu" else labels.astype(np.int64)


def _log(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logits of a softmax, up to a constant in each pixel that changes nothing."""
    import numpy as np

    result: npt.NDArray[np.float32] = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return result


def _log_odds(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logits of a sigmoid, within about -87 and 17, where float32 probabilities end."""
    import numpy as np

    limits = np.finfo(np.float32)
    inside = np.clip(probabilities, limits.tiny, 1.0 - limits.epsneg)
    result: npt.NDArray[np.float32] = np.log(inside) - np.log1p(-inside)
    return result


def _resize(logits: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize to the input's size, bilinearly: many networks leave this last step to their caller."""
    import cv2
    import numpy as np

    result = np.empty((*logits.shape[:2], *size), dtype=np.float32)
    for maps, resized in zip(logits.reshape(-1, *logits.shape[2:]), result.reshape(-1, *size), strict=True):
        cv2.resize(maps, (size[1], size[0]), dst=resized, interpolation=cv2.INTER_LINEAR)
    return result
