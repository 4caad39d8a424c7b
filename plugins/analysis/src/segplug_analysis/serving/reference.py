"""PyTorch's own labels for an image, and the comparison of a served mask with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.comparison import Comparison
from segplug.runtime.postprocess import logits_to_labels, resize_plane
from segplug.runtime.runner import Runner
from segplug.runtime.segment import ModelRunner
from segplug.verification.compare import Pair, compare
from segplug.verification.stability import perturbed_runs

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine
    from segplug.progress import Reporter
    from segplug.runtime.preprocess import Geometry, Prepared
    from segplug_analysis.serving.pictures import Picture

__all__ = ["Expected", "Reference"]


@dataclass(frozen=True)
class Expected:
    """PyTorch's result for one image."""

    labels: npt.NDArray[Any]
    """Unsigned integer ``(H, W)``."""
    resized: bool
    """Whether the image is resized for the network."""
    compare: Callable[[npt.NDArray[Any]], Comparison]
    """Compares labels ``(H, W)`` with it, as ``--verify`` does, but at the image's own size."""


class Reference:
    """Segments images with PyTorch.

    Args:
        engine: The loaded model as an engine that gives logits. The caller closes it.
        precision: The precision of the served model, which decides the thresholds for its masks.
        reporter: Where the runtime's warnings go.
    """

    def __init__(self, engine: Engine, precision: str, reporter: Reporter) -> None:
        self._meta = engine.spec.meta
        self._precision = precision
        self._model = ModelRunner(Runner(engine), 1, reporter)

    def __call__(self, picture: Picture) -> Expected:
        """Run one image; raises :class:`segplug.errors.SegplugError` as the engine does."""
        prepared = self._model.preprocess(picture.decoded(), picture.name)
        geometry = prepared.geometry
        logits = self._run(prepared.array)
        shown = self._own_size(logits, geometry)

        def compared(mask: npt.NDArray[Any]) -> Comparison:
            pair = Pair(picture.name, shown, mask, perturbed=lambda: self._perturbed(prepared))
            cut = self._meta.threshold if self._meta.activation == "sigmoid" else None
            return compare([pair], precision=self._precision, sigmoid_threshold=cut)

        labels = logits_to_labels(logits, self._meta, geometry)
        return Expected(labels, geometry.valid != geometry.original, compared)

    def _run(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._model.run([array])[0]
        return logits

    def _own_size(self, logits: npt.NDArray[np.float32], geometry: Geometry) -> npt.NDArray[np.float32]:
        """Logits resized to the image's own size, where the labels are chosen."""
        height, width = geometry.valid
        planes = (plane[:height, :width] for plane in logits)
        aligned = self._meta.align_corners
        return np.stack([resize_plane(plane, geometry.original, align_corners=aligned) for plane in planes])

    def _perturbed(self, prepared: Prepared) -> Iterator[npt.NDArray[np.float32]]:
        return perturbed_runs(
            lambda perturbed: self._own_size(self._run(perturbed), prepared.geometry), prepared.array
        )
