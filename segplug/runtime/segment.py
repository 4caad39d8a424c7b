"""Segment images in memory with one engine: preprocess, run (whole or by sliding window), postprocess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import UsageError
from segplug.progress import QuietReporter, Reporter
from segplug.runtime.image_reader import Sample, split_masked
from segplug.runtime.postprocess import (
    NetworkOutput,
    Postprocessor,
    Prediction,
    average_views,
    mark_ignored,
    require_scores,
    scores_at_image_size,
)
from segplug.runtime.preprocess import Prepared, Preprocessor
from segplug.runtime.runner import Runner
from segplug.runtime.slide import Slider

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine, EngineSpec
    from segplug.preprocessing import Step

__all__ = ["IGNORED", "ModelRunner", "Segmenter"]

IGNORED = 255
"""The label of pixels that have no data, where no data set names another one; 65535 if 255 is a class."""


class ModelRunner:
    """Runs a model as its metadata says: ``preprocess`` an image, then ``run`` it whole or by sliding window.

    Args:
        runner: The engine.
        batch_size: How many images of one network size to run together, if the engine takes so many.
        reporter: Gets the warnings.
        tta: Run all views of the model's test-time augmentation, and average them; ``None``: if it is the
            model's default.

    Raises:
        UsageError: the views are to be averaged, and the engine gives labels; or they are asked for, and
            there are none.
    """

    def __init__(
        self, runner: Runner, batch_size: int, reporter: Reporter, *, tta: bool | None = False
    ) -> None:
        spec = runner.spec
        slides = spec.meta.inference.mode == "slide" and spec.input == "tensor"
        whole_spec = None if slides else spec
        views = Counter(_views(spec, tta))
        if views:
            require_scores(spec, "test-time augmentation (--no-tta leaves it out)")
        self._runner = runner
        self._slider = Slider(runner, reporter) if slides else None
        self._weights = list(views.values())
        self._preprocessors = [
            Preprocessor(spec.meta, whole_spec, reporter, steps=view) for view in views
        ] or [Preprocessor(spec.meta, whole_spec, reporter)]
        self.views = sum(self._weights)
        """How many views are averaged; 0: no test-time augmentation."""
        self.group_size = 1 if slides or views else runner.group_size(batch_size)

    def preprocess(self, image: npt.NDArray[Any], name: str) -> tuple[Prepared, ...]:
        """The network's inputs for one image: one for each view. Any thread may call it."""
        return tuple(preprocess(image, name) for preprocess in self._preprocessors)

    def run(self, images: Sequence[tuple[Prepared, ...]]) -> list[NetworkOutput]:
        """The output for each of at most ``group_size`` images of one network size."""
        if self.views:
            return [self._averaged(views) for views in images]
        return self._outputs([views[0] for views in images])

    def _averaged(self, views: Sequence[Prepared]) -> NetworkOutput:
        outputs = (self._outputs([view])[0] for view in views)
        return average_views(zip(outputs, self._weights, strict=True), self._runner.spec.meta)

    def _outputs(self, group: Sequence[Prepared]) -> list[NetworkOutput]:
        arrays = [item.array for item in group]
        if self._slider is not None:
            values: Any = [self._slider(array) for array in arrays]
        else:
            values = self._runner(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))
        logits = self._runner.spec.meta.scores == "logits"
        return [
            NetworkOutput(value, item.geometry, logits, at_input_size=self._slider is not None)
            for value, item in zip(values, group, strict=True)
        ]


def _views(spec: EngineSpec, tta: bool | None) -> tuple[tuple[Step, ...], ...]:
    """The views to run; empty: the model's steps without test-time augmentation."""
    if spec.input == "image":
        if tta:
            raise UsageError(
                f"{spec.backend} runs one view of each image, without test-time augmentation",
                hint="leave out --tta (tta=True)",
            )
        return ()
    if tta and not spec.meta.tta:
        raise UsageError(
            f"the model {spec.meta.name} has no test-time augmentation to run",
            hint="leave out --tta (tta=True), or load the model from a config that has a tta_pipeline",
        )
    if tta is None:
        return spec.meta.default_tta
    return spec.meta.tta if tta else ()


class Segmenter:
    """Predicts the labels of images in memory. If one image fails, the others still get theirs.

    Used by one thread at a time.

    Args:
        engine: The engine; the caller closes it.
        batch_size: Images of one network size that are run together.
        reporter: Gets the warnings.
        tta: As for :class:`ModelRunner`.
        allow_nonfinite: Give pixels whose scores are NaN or infinite the label :attr:`ignored`, in place of
            an error.

    Raises:
        UsageError: as for :class:`ModelRunner`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        batch_size: int = 1,
        reporter: Reporter | None = None,
        tta: bool | None = False,
        allow_nonfinite: bool = False,
    ) -> None:
        reporter = reporter or QuietReporter()
        self.runner = Runner(engine)
        self._model = ModelRunner(self.runner, batch_size, reporter, tta=tta)
        self.views = self._model.views
        """How many views of an image are averaged; 0: no test-time augmentation."""
        self.group_size = self._model.group_size
        """Largest number of images that are run together; 1 with a sliding window."""
        meta = engine.spec.meta
        self._meta = meta
        self._with_confidence = Postprocessor(
            meta, reporter, confidence=True, allow_nonfinite=allow_nonfinite
        )
        self._postprocess = Postprocessor(meta, reporter, allow_nonfinite=allow_nonfinite)
        self.ignored = IGNORED if meta.num_labels <= IGNORED else 65535
        """The label of pixels that have no data."""

    def __call__(
        self,
        images: Sequence[npt.NDArray[Any]],
        *,
        confidence: bool = False,
        logits: bool = False,
        names: Sequence[str] | None = None,
    ) -> list[Prediction | Exception]:
        """Segment images of any sizes.

        Args:
            images: ``(H, W, C)`` each, of any numeric type; masked arrays where pixels have no data.
            confidence: Whether to compute the probability of each label, too.
            logits: Whether to keep the scores of every class, too.
            names: The names of the images in messages; default: their numbers.

        Returns:
            For each image its prediction at its own size, or the exception that its preprocessing, the engine
            or its postprocessing raised; :class:`segplug.errors.NonfiniteError` where its scores are NaN or
            infinite. Pixels without data have the label :attr:`ignored`.

        Raises:
            UsageError: the confidence or the logits are asked for, and the engine gives labels.
        """
        if confidence:
            require_scores(self.runner.spec, "the confidence")
        if logits:
            require_scores(self.runner.spec, "logits")
        results: dict[int, Prediction | Exception] = {}
        prepared: dict[int, tuple[Prepared, ...]] = {}
        samples: dict[int, Sample] = {}
        for index, image in enumerate(images):
            try:
                samples[index] = split_masked(image)
                prepared[index] = self._model.preprocess(samples[index].image, _name(names, index))
            except Exception as error:
                results[index] = error
        postprocess = self._with_confidence if confidence else self._postprocess
        for group in _groups(prepared, self._model.group_size):
            for index, output in self._outputs(group).items():
                results[index] = self._predicted(
                    output, samples[index], postprocess, _name(names, index), logits=logits
                )
        return [results[index] for index in range(len(images))]

    def _predicted(
        self,
        output: NetworkOutput | Exception,
        sample: Sample,
        postprocess: Postprocessor,
        name: str,
        *,
        logits: bool,
    ) -> Prediction | Exception:
        if isinstance(output, Exception):
            return output
        try:
            prediction = postprocess(output, name)
            scores = scores_at_image_size(output, self._meta) if logits else None
        except Exception as error:
            return error
        labels = prediction.labels
        for unknown in (prediction.undefined, sample.nodata):
            if unknown is not None:
                labels = mark_ignored(labels, unknown, self.ignored)
        return Prediction(labels, prediction.confidence, prediction.undefined, scores)

    def _outputs(self, group: dict[int, tuple[Prepared, ...]]) -> dict[int, NetworkOutput | Exception]:
        try:
            return dict(zip(group, self._model.run(list(group.values())), strict=True))
        except Exception as error:
            if len(group) == 1:
                return dict.fromkeys(group, error)
            # A batch can fail where a single image does not, for example for lack of memory.
            single = [self._outputs({index: item}) for index, item in group.items()]
            return {index: result for results in single for index, result in results.items()}


def _name(names: Sequence[str] | None, index: int) -> str:
    return f"number {index + 1}" if names is None else names[index]


def _groups(
    prepared: dict[int, tuple[Prepared, ...]], size: int
) -> Iterator[dict[int, tuple[Prepared, ...]]]:
    """Groups of at most ``size`` inputs of one network size and type."""
    shapes: dict[Any, dict[int, tuple[Prepared, ...]]] = {}
    for index, item in prepared.items():
        key = (item[0].array.shape, item[0].array.dtype)
        group = shapes.setdefault(key, {})
        group[index] = item
        if len(group) == size:
            yield shapes.pop(key)
    yield from shapes.values()
