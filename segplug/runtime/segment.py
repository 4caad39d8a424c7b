"""From images in memory to labels with one engine: preprocess, run (whole or sliding), postprocess."""

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
    """Preprocesses images and runs the engine on them, whole or by sliding window.

    Args:
        runner: The engine.
        batch_size: How many images of one network size to run together, where the engine takes it.
        reporter: Where warnings go.
    """

    def __init__(self, runner: Runner, batch_size: int, reporter: Reporter) -> None:
        spec = runner.spec
        slides = spec.meta.inference.mode == "slide" and spec.input == "tensor"
        self._runner = runner
        self._slider = Slider(runner, reporter) if slides else None
        self.preprocess = Preprocessor(spec.meta, None if slides else spec, reporter)
        self.group_size = 1 if slides else runner.group_size(batch_size)

    def run(self, arrays: Sequence[npt.NDArray[Any]]) -> Any:
        """Logits ``(C, H, W)`` or labels ``(H, W)`` of inputs of one network size, at most ``group_size``."""
        if self._slider is not None:
            return [self._slider(array) for array in arrays]
        return self._runner(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))


class Segmenter:
    """Images in memory to label maps, each image on its own: one that fails does not touch the others.

    Used by one thread at a time.

    Args:
        engine: The engine; it stays the caller's, who closes it.
        batch_size: Images of one network size that are run together.
        reporter: Where warnings go.
    """

    def __init__(self, engine: Engine, *, batch_size: int = 1, reporter: Reporter | None = None) -> None:
        reporter = reporter or QuietReporter()
        self.runner = Runner(engine)
        self._model = ModelRunner(self.runner, batch_size, reporter)
        self.group_size = self._model.group_size
        """Images that are run together at most: 1 where a window slides, whatever was asked for."""
        self._postprocess = Postprocessor(engine.spec.meta, reporter)

    def __call__(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[Any] | Exception]:
        """Segment images of any sizes.

        Args:
            images: uint8 ``(H, W, 3)`` each, BGR.

        Returns:
            For each image its labels, unsigned integer ``(H, W)`` at its own size, or why there are none: any
            exception, since an engine may raise any.
        """
        answers: dict[int, npt.NDArray[Any] | Exception] = {}
        prepared: dict[int, Prepared] = {}
        for index, image in enumerate(images):
            try:
                prepared[index] = self._model.preprocess(image, f"number {index + 1}")
            except Exception as error:
                answers[index] = error
        for group in _groups(prepared, self._model.group_size):
            answers.update(self._labels(group))
        return [answers[index] for index in range(len(images))]

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
            # What a batch is refused for, memory most of all, may not hold for one image.
            single = [self._labels({index: item}) for index, item in group.items()]
            return {index: answer for answers in single for index, answer in answers.items()}


def _groups(prepared: dict[int, Prepared], size: int) -> Iterator[dict[int, Prepared]]:
    """Inputs of one network size together, at most ``size`` of them."""
    shapes: dict[tuple[int, ...], dict[int, Prepared]] = {}
    for index, item in prepared.items():
        group = shapes.setdefault(item.array.shape, {})
        group[index] = item
        if len(group) == size:
            yield shapes.pop(item.array.shape)
    yield from shapes.values()
