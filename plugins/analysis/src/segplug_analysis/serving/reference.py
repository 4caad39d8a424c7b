"""PyTorch's own labels for an image, and the comparison of a served mask with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.comparison import Comparison
from segplug.runtime.postprocess import NetworkOutput, Postprocessor, mark_ignored, planes_at_image_size
from segplug.runtime.preprocess import Prepared
from segplug.runtime.runner import Runner
from segplug.runtime.segment import ModelRunner, Segmenter
from segplug.verification.compare import Pair, compare
from segplug.verification.stability import perturbed_runs
from segplug_analysis.nodata import pixels_without_data

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine
    from segplug.progress import Reporter
    from segplug_analysis.serving.pictures import Picture

__all__ = ["Expected", "Reference"]


@dataclass(frozen=True)
class Expected:
    """PyTorch's result for one image."""

    labels: npt.NDArray[Any]
    """Unsigned integer ``(H, W)``; pixels without data have the label that servers give them."""
    resized: bool
    """Whether the image is resized for the network."""
    compare: Callable[[npt.NDArray[Any]], Comparison]
    """Compares labels ``(H, W)`` with it, as ``--verify`` does, but at the image's own size."""


class Reference:
    """Segments images with PyTorch, without test-time augmentation, as servers do.

    Args:
        engine: The loaded model as an engine that gives scores. The caller closes it.
        precision: The precision of the served model, which decides the thresholds for its masks.
        reporter: Where the runtime's warnings go.
    """

    def __init__(self, engine: Engine, precision: str, reporter: Reporter) -> None:
        self._meta = engine.spec.meta
        self._precision = precision
        self._model = ModelRunner(Runner(engine), 1, reporter)
        self._postprocess = Postprocessor(self._meta, reporter)
        self._ignored = Segmenter(engine).ignored

    def __call__(self, picture: Picture) -> Expected:
        """Run one image; raises :class:`segplug.errors.SegplugError` as the engine does."""
        image = picture.decoded(self._meta)
        (prepared,) = self._model.preprocess(np.ma.getdata(image), picture.name)
        nodata = pixels_without_data(image)
        output = self._run(prepared)
        scores, labels = self._own_size(output), self._postprocess(output).labels
        marked = mark_ignored(labels, nodata, self._ignored)

        def compared(mask: npt.NDArray[Any]) -> Comparison:
            # The scores know nothing of pixels without data: there, only the mark is compared.
            right = np.where(mask == marked, labels, self._meta.num_labels)
            candidate = np.where(nodata, right, mask)
            pair = Pair(picture.name, scores, candidate, perturbed=lambda: self._perturbed(prepared))
            return compare(
                [pair],
                precision=self._precision,
                threshold=self._meta.threshold,
                logits=self._meta.scores == "logits",
                multilabel=self._meta.multilabel,
            )

        return Expected(marked, prepared.geometry.valid != prepared.geometry.original, compared)

    def _run(self, prepared: Prepared) -> NetworkOutput:
        (output,) = self._model.run([(prepared,)])
        return output

    def _own_size(self, output: NetworkOutput) -> npt.NDArray[np.float32]:
        """Scores ``(C, H, W)`` at the image's own size, where the labels are chosen."""
        planes = planes_at_image_size(output, self._meta)
        scores: npt.NDArray[np.float32] = np.stack([planes[channel] for channel in range(len(planes))])
        if output.geometry.flip is not None:
            scores = np.flip(scores, axis=2 if output.geometry.flip == "horizontal" else 1)
        return scores

    def _perturbed(self, prepared: Prepared) -> Iterator[npt.NDArray[np.float32]]:
        return perturbed_runs(
            lambda perturbed: self._own_size(self._run(Prepared(perturbed, prepared.geometry))),
            prepared.array,
        )
