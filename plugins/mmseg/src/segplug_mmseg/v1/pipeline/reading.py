"""Read the whole preprocessing of a config: its test pipeline, its data preprocessor, its augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from segplug.errors import ModelError
from segplug.preprocessing import Convert, Decoding, Step
from segplug.progress import Reporter
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.explain import one_line
from segplug_mmseg.pipeline.channels import find_channels
from segplug_mmseg.pipeline.decoding import Loading
from segplug_mmseg.pipeline.missing import Missing
from segplug_mmseg.pipeline.numbers import values
from segplug_mmseg.pipeline.preprocessing import Preprocessing
from segplug_mmseg.v1.pipeline.augmentation import AUGMENTATION, plain_view, read_views
from segplug_mmseg.v1.pipeline.data_preprocessor import DataPreprocessor, read_data_preprocessor
from segplug_mmseg.v1.pipeline.loading import read_loader, split_loader
from segplug_mmseg.v1.pipeline.settings import test_pipelines
from segplug_mmseg.v1.pipeline.transforms import is_theirs, name_of, title_of, transform_class
from segplug_mmseg.v1.pipeline.translation import Translation
from segplug_mmseg.v1.scopes import default_scope
from segplug_mmseg.values import is_list, type_name

__all__ = ["read_pipeline"]

_WHERE = "mean and std of the data_preprocessor"
_UNPADDED = "MaskFormerHead"
"""It gives scores of ``img_shape``, other heads of ``pad_shape``."""
_READ = (TypeError, ValueError, LookupError, AttributeError)
"""What reading settings of the wrong type raises."""


def read_pipeline(
    config: Any,
    reporter: Reporter,
    *,
    network: int | None = None,
    takes: Callable[[int], bool] = lambda _: False,
    out_channels: int | None = None,
    approximate: bool = False,
) -> Preprocessing:
    """Read ``test_dataloader``'s pipeline (or ``test_pipeline``), ``data_preprocessor``, ``tta_pipeline``.

    Args:
        config: The mmengine ``Config``, or a dict.
        reporter: Gets a warning where there is no test pipeline, and a note where the ``tta_pipeline`` cannot
            be run.
        network: Input channels of the network's first convolution; ``None``: it has none.
        takes: Whether the network runs with so many channels.
        out_channels: Channels of the scores, if they are known.
        approximate: Leave out what cannot be expressed, and list it.

    Raises:
        ModelError: a transform cannot be expressed or its values cannot be read, mmseg fails with it, or the
            network does not take such images.
    """
    import_mmseg()
    missing = Missing(approximate)
    with default_scope(config.get("default_scope")):
        try:
            found = _Reading(config, missing, reporter, network, takes)
            read = found.preprocessing()
        except _READ as error:
            raise ModelError(f"the test pipeline of the config cannot be read: {one_line(error)}") from error
        if read.tta:
            return read
        later = Missing(approximate)
        try:
            views = found.later_views(later, out_channels)
        except ModelError as error:
            reporter.note(f"--tta is not possible: {error.message}")
            return read
        except _READ as error:
            reporter.note(f"--tta is not possible: the tta_pipeline cannot be read: {one_line(error)}")
            return read
    lines = tuple(f"with --tta: {line}" for line in later.lines if line not in missing.lines)
    return replace(read, tta=views, tta_by_default=not views, approximations=(*read.approximations, *lines))


class _Reading:
    """What the parts of the preprocessing of one config have in common."""

    def __init__(
        self,
        config: Any,
        missing: Missing,
        reporter: Reporter,
        network: int | None,
        takes: Callable[[int], bool],
    ) -> None:
        self._config = config
        self._missing = missing
        self._reporter = reporter
        self._after: DataPreprocessor = read_data_preprocessor(config, missing, reporter)
        loader, self._transforms = self._find(reporter)
        self._loading: Loading = read_loader(loader)
        counts = (*_normalised(self._transforms), *self._after.normalised())
        self._channels = find_channels(self._loading, counts, network, takes, where=_WHERE)

    def preprocessing(self) -> Preprocessing:
        """The test pipeline, with its views if it has any."""
        steps, tta = self._translated(self._transforms, self._missing, self._after)
        return Preprocessing(
            in_channels=self._channels,
            decoding=self._loading.decoding or Decoding.for_channels(self._channels),
            steps=steps,
            tta=() if all(view == steps for view in tta) else tta,
            approximations=self._missing.lines,
        )

    def later_views(self, missing: Missing, out_channels: int | None) -> tuple[tuple[Step, ...], ...]:
        """The views of the ``tta_pipeline``, which runs where it is asked for; empty: there is none."""
        pipeline = self._config.get("tta_pipeline")
        if not pipeline:
            return ()
        _check_average(self._config.get("tta_model"), out_channels, missing)
        loader, transforms = split_loader(_flat(pipeline))
        if read_loader(loader) != self._loading:
            missing.note("does not load images as the tta_pipeline does", "images are loaded as without it")
        after = read_data_preprocessor(self._config, missing, self._reporter, for_views=True)
        _, views = self._translated(transforms, missing, after)
        return views

    def _find(self, reporter: Reporter) -> tuple[Any, list[Any]]:
        """The transform that loads images, and those after it."""
        pipelines = test_pipelines(self._config)
        if not pipelines:
            reporter.warn("the config has no test pipeline: images are fed at their own size")
            return None, []
        if any(repr(other) != repr(pipelines[0]) for other in pipelines[1:]):
            self._missing.note(
                "is not the same for all data sets of test_dataloader",
                "the first pipeline of test_dataloader is used for all its data sets",
            )
        return split_loader(_flat(pipelines[0]))

    def _translated(
        self, transforms: list[Any], missing: Missing, after: DataPreprocessor
    ) -> tuple[tuple[Step, ...], tuple[tuple[Step, ...], ...]]:
        """The steps without augmentation, and those of each view."""
        places = [place for place, step in enumerate(transforms) if _is_augmentation(step)]
        if not places:
            return self._steps(transforms, missing, after), ()
        place = places[0]
        for step in transforms[place + 1 :]:  # there are lists of images by then, which no transform takes
            missing.leave_out(f"{title_of(step)} after {AUGMENTATION}")
        before = transforms[:place]
        views = tuple(
            self._steps([*before, *_flat(view)], missing, after) for view in read_views(transforms[place])
        )
        return plain_view(views), views

    def _steps(self, transforms: list[Any], missing: Missing, after: DataPreprocessor) -> tuple[Step, ...]:
        floats = self._loading.to_float32
        translation = Translation(self._channels, missing, floats=floats)
        for step in transforms:
            translation.add(step)
        model = self._config.get("model") or {}
        slides = (model.get("test_cfg") or {}).get("mode") == "slide"
        head = model.get("decode_head")
        if after.pads and not slides and isinstance(head, dict) and type_name(head.get("type")) == _UNPADDED:
            missing.note(
                f"is followed by padding, and mmseg's {_UNPADDED} gives scores of the size before it, from "
                "which the padding is cut once more",
                "the padding is cut from the scores of the padded image",
            )
        steps = translation.finish(keeps_size=not slides and not after.notes_size)
        first: tuple[Step, ...] = (Convert(),) if floats else ()
        return (*first, *steps, *after.steps(self._channels))


def _is_augmentation(step: Any) -> bool:
    return isinstance(step, dict) and name_of(step) == AUGMENTATION and is_theirs(transform_class(step))


def _flat(pipeline: Any) -> list[Any]:
    """The transforms, those in a ``Compose`` of mmcv included."""
    found = []
    for step in pipeline:
        if isinstance(step, dict) and name_of(step) == "Compose" and is_theirs(transform_class(step)):
            inner = step["transforms"]
            found += _flat(inner if is_list(inner) else [inner])
        else:
            found.append(step)
    return found


def _normalised(transforms: list[Any]) -> Iterator[int]:
    """The number of means and deviations of each Normalize; one alone counts for any number of channels."""
    for step in transforms:
        if not isinstance(step, dict):
            continue
        if _is_augmentation(step):
            for view in read_views(step):
                yield from _normalised(view)
        elif name_of(step) == "Normalize" and is_theirs(transform_class(step)):
            for name in ("mean", "std"):
                if name in step and len(values(step[name])) != 1:
                    yield len(values(step[name]))


def _check_average(settings: Any, out_channels: int | None, missing: Missing) -> None:
    """Refuse what merges the views otherwise than by the mean of their probabilities."""
    name = type_name(settings["type"]) if settings else "SegTTAModel"
    if name != "SegTTAModel":
        missing.note(
            f"is augmented by the tta_model {name}, which merges views in its own way",
            "the probabilities of the views are averaged, as SegTTAModel does",
        )
    if out_channels == 1:
        missing.note(
            "is augmented by SegTTAModel, which applies the sigmoid twice to a head of one channel: every "
            "probability is at least 0.5",
            "the sigmoid is applied once",
        )
