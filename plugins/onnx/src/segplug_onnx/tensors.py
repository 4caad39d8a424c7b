"""The input and output tensor of a graph, converted from and to the layout of the engine contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.engine import Axis
from segplug.errors import ArtifactError, ShapeError
from segplug.strides import scores_size

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Tensors"]


@dataclass(frozen=True)
class Tensors:
    """The input and the output of a graph."""

    input: str
    output: str
    labels: bool
    """The output is labels, not scores."""
    stride: int | None = 1
    """Scores have the input's size divided by this, rounded up. ``None``: their sizes follow no stride, and
    they are resized to the input's."""
    size: tuple[int, int] | None = None
    """The (height, width) of scores that have one size whatever the input's is; ``stride`` is 1 then."""
    channels_last: bool = False
    """Input ``(N, H, W, C)`` and, for scores, output ``(N, h, w, C)``."""
    half: bool = False
    """The input is float16."""

    def axes(self, shape: Sequence[Any]) -> tuple[Axis, Axis, Axis]:
        """Batch, height and width that an input of this shape accepts. An axis without a number is free."""
        batch, height, width = (shape[axis] for axis in ((0, 1, 2) if self.channels_last else (0, 2, 3)))
        return _axis(batch), _axis(height), _axis(width)

    def scores_axes(self, shape: Sequence[Any]) -> tuple[Axis, Axis]:
        """Height and width of scores whose output has this shape. An axis without a number is free."""
        last = self.channels_last and len(shape) == 4
        height, width = shape[1:3] if last else shape[-2:]
        return _axis(height), _axis(width)

    def to_input(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """A float32 ``(N, C, H, W)`` batch in the layout and type of the graph's input."""
        import numpy as np

        array: npt.NDArray[Any] = batch.transpose(0, 2, 3, 1) if self.channels_last else batch
        return np.ascontiguousarray(array, dtype=np.float16 if self.half else np.float32)

    def from_output(self, output: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
        """The graph's output in the layout of the engine contract, for an input of ``size`` (height, width).

        Raises:
            ArtifactError: the output is no label map of this size, or no scores of images.
            ShapeError: scores do not have the size that they should have.
        """
        if self.labels:
            return _labels(output, size, self.output)
        scores = self.scores(output)
        if self.stride is None:
            return scores if scores.shape[2:] == size else _resize(scores, size)
        if scores.shape[2:] != (self.size or scores_size(size, self.stride)):
            raise ShapeError(
                f"the model cannot take images of {size[0]}x{size[1]}: its output {self.output} has shape "
                f"{output.shape}"
            )
        return scores

    def scores(self, output: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """An output of scores as float32 ``(N, C, h, w)``.

        Raises:
            ArtifactError: it has another rank.
        """
        import numpy as np

        scores = output[:, None] if output.ndim == 3 else output
        if scores.ndim != 4:
            raise ArtifactError(
                f"the output {self.output} has shape {output.shape}, not that of scores of images"
            )
        if self.channels_last and output.ndim == 4:
            scores = scores.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(scores, dtype=np.float32)


def _axis(size: Any) -> Axis:
    return Axis.fixed(size) if isinstance(size, int) and size > 0 else Axis()


def _labels(output: npt.NDArray[Any], size: tuple[int, int], name: str) -> npt.NDArray[Any]:
    import numpy as np

    labels = output
    if labels.ndim == 4 and 1 in (labels.shape[1], labels.shape[3]):
        labels = labels[..., 0] if labels.shape[3] == 1 else labels[:, 0]
    if labels.shape[1:] != size:
        scores = labels.ndim == 4 and labels.dtype.kind == "f"
        raise ArtifactError(
            f"the output {name} has shape {output.shape}, not that of labels of {size[0]}x{size[1]}",
            hint="it looks like scores: --output-kind logits or probabilities" if scores else None,
        )
    return labels if labels.dtype.kind in "iu" else labels.astype(np.int64)


def _resize(scores: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize to the input's size, bilinearly: many networks leave this last step to their caller."""
    import cv2
    import numpy as np

    result = np.empty((*scores.shape[:2], *size), dtype=np.float32)
    for maps, resized in zip(scores.reshape(-1, *scores.shape[2:]), result.reshape(-1, *size), strict=True):
        cv2.resize(maps, (size[1], size[0]), dst=resized, interpolation=cv2.INTER_LINEAR)
    return result
