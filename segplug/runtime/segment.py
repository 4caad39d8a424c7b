"""Segment images in memory with one engine: preprocess, run (whole or by sliding window), postprocess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.progress import QuietReporter, Reporter
from segplug.runtime.postprocess import Postprocessor
from segplug.runtime.preprocess import Prepared, Preprocessor
from segplug.runtime.runner import Runner
from segplug.runtime.slide import Slider

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine

__all__ = ["ModelRunner", "Segmenter"]


class ModelRunner:
    """Runs a model as its metadata says: ``preprocess`` an image, then ``run`` it whole or by sliding window.

    Args:
        runner: The engine.
        batch_size: How many images of one network size to run together, if the engine takes so many.
        reporter: Gets the warnings.
    """

    def __init__(self, runner: Runner, batch_size: int, reporter: Reporter) -> None:
        spec = runner.spec
        slides = spec.meta.inference.mode == "slide" and spec.input == "tensor"
        self._runner = runner
        self._slider = Slider(runner, reporter) if slides else None
        self.preprocess = Preprocessor(spec.meta, None if slides else spec, reporter)
        self.group_size = 1 if slides else runner.group_size(batch_size)

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> Any:
        """Logits ``(C, H, W)`` or labels ``(H, W)`` for each of at most ``group_size`` inputs of one size."""
        if self._slider is not None:
            return [self._slider(array) for array in arrays]
        return self._runner(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))


class Segmenter:
    """Computes the label maps of images in memory. If one image fails, the others still get theirs.

    Used by one thread at a time.

    Args:
        engine: The engine; the caller closes it.
        batch_size: Images of one network size that are run together.
        reporter: Gets the warnings.
    """

    def __init__(self, engine: Engine, *, batch_size: int = 1, reporter: Reporter | None = None) -> None:
        reporter = reporter or QuietReporter()
        self.runner = Runner(engine)
        self._model = ModelRunner(self.runner, batch_size, reporter)
        self.group_size = self._model.group_size
        """Largest number of images that are run together; 1 with a sliding window."""
        self._postprocess = Postprocessor(engine.spec.meta, reporter)

    def __call__(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[Any] | Exception]:
        """Segment images of any sizes.

        Args:
            images: uint8 ``(H, W, 3)`` each, BGR.

        Returns:
            For each image its labels, unsigned integer ``(H, W)`` at its own size, or the exception that its
            preprocessing or the engine raised.
        """
        results: dict[int, npt.NDArray[Any] | Exception] = {}
        prepared: dict[int, Prepared] = {}
        for index, image in enumerate(images):
            try:
                prepared[index] = self._model.preprocess(image, f"number {index + 1}")
            except Exception as error:
                results[index] = error
        for group in _groups(prepared, self._model.group_size):
            results.update(self._labels(group))
        return [results[index] for index in range(len(images))]

    def _labels(self, group: dict[int, Prepared]) -> dict[int, npt.NDArray[Any] | Exception]:
        try:
            outputs = self._model.run([item.array for item in group.values()])
            return {
                index: self._postprocess(output, item.geometry)
                for (index, item), output in zip(group.items(), outputs, strict=True)
            }
        except Exception as error:
            if len(group) == 1:
                return dict.fromkeys(group, error)
            # A batch can fail where a single image does not, for example for lack of memory.
            single = [self._labels({index: item}) for index, item in group.items()]
            return {index: result for results in single for index, result in results.items()}


def _groups(prepared: dict[int, Prepared], size: int) -> Iterator[dict[int, Prepared]]:
    """Groups of at most ``size`` inputs of one network size."""
    shapes: dict[tuple[int, ...], dict[int, Prepared]] = {}
    for index, item in prepared.items():
        group = shapes.setdefault(item.array.shape, {})
        group[index] = item
        if len(group) == size:
            yield shapes.pop(item.array.shape)
    yield from shapes.values()
