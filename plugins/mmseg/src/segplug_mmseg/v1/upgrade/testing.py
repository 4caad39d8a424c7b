"""Test pipelines: flat in 1.x, with the views of test-time augmentation apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug_mmseg.pipeline.numbers import UNLIMITED, read_scales
from segplug_mmseg.pipeline.transforms import transform_name
from segplug_mmseg.v1.upgrade.images import Images
from segplug_mmseg.v1.upgrade.notes import Notes
from segplug_mmseg.v1.upgrade.transforms import GONE, PACKING, load_annotations, passed_on
from segplug_mmseg.v1.upgrade.views import Scale, Views, read_views

__all__ = ["TestPipeline", "upgrade_test_pipeline"]

_AUGMENTATION = "MultiScaleFlipAug"
_LOADER = "LoadImageFromFile"
_GREY = ("grayscale", "grayscale_ignore_orientation")
_MASKS_ONLY = ("LoadAnnotations", "SegRescale")


@dataclass(frozen=True)
class TestPipeline:
    """A test pipeline of 0.x, translated."""

    steps: tuple[Any, ...]
    """Transforms of images, the loader among them; without annotations and packing."""
    augmented: tuple[Any, ...] | None
    """The same with all views, for ``TestTimeAug``: for each step its alternatives. ``None``: one view."""
    images: Images

    def flat(self, annotations: Mapping[str, Any] | None) -> list[Any]:
        """``test_pipeline``.

        Args:
            annotations: Settings of ``LoadAnnotations``, which comes after every resize; ``None``: the data
                have no masks.
        """
        masks = [] if annotations is None else [load_annotations(annotations)]
        return [*self.steps, *masks, {"type": "PackSegInputs"}]

    def tta(self, annotations: Mapping[str, Any] | None) -> list[Any] | None:
        """``tta_pipeline``, or ``None``."""
        if self.augmented is None:
            return None
        masks = [] if annotations is None else [[load_annotations(annotations)]]
        loader, *views = self.augmented
        return [
            *loader,
            {"type": "TestTimeAug", "transforms": [*views, *masks, [{"type": "PackSegInputs"}]]},
        ]


def upgrade_test_pipeline(pipeline: list[Any], notes: Notes) -> TestPipeline:
    """Translate a test pipeline.

    Raises:
        ModelError: images would be prepared differently.
    """
    names = [transform_name(step) for step in pipeline]
    before, views, inner = pipeline, None, []
    if _AUGMENTATION in names:
        place = names.index(_AUGMENTATION)
        before, inner = pipeline[:place], list(pipeline[place].get("transforms") or ())
        for name in names[place + 1 :]:
            if name not in PACKING:
                notes.refuse(f"the test pipeline has {name} after {_AUGMENTATION}")
        views = read_views(pipeline[place])
    return _Reader(views, notes).read(before, inner)


@dataclass(frozen=True)
class _Step:
    """What becomes of one transform."""

    plain: Any
    """Without augmentation; ``None``: nothing."""
    views: tuple[Any, ...]
    """Its alternatives with augmentation."""


class _Reader:
    def __init__(self, views: Views | None, notes: Notes) -> None:
        self._views, self._notes = views, notes
        self._flips = 0
        self._resizes = 0
        self._outer: tuple[int, int] | None = None
        self._normalize: Mapping[str, Any] | None = None
        self._pad: Mapping[str, Any] | None = None

    def read(self, before: list[Any], inner: list[Any]) -> TestPipeline:
        first = [found for step in before if (found := self._step(step, inside=False))]
        later = [found for step in inner if (found := self._step(step, inside=True))]
        grey = any(isinstance(step, dict) and step.get("color_type") in _GREY for step in before[:1])
        return TestPipeline(
            steps=tuple(found.plain for found in (*first, *later) if found.plain is not None),
            augmented=self._augmented(first, later),
            images=Images(self._normalize, self._pad, grey),
        )

    def _augmented(self, first: list[_Step], later: list[_Step]) -> tuple[Any, ...] | None:
        views = self._views
        if views is None or not views.several:
            return None
        if any(views.flips) and self._flips != 1:
            self._notes.on_prediction(
                f"MultiScaleFlipAug flips with {self._flips or 'no'} RandomFlip: tta_pipeline is left out"
            )
            return None
        if len(views.scales) > 1 and self._resizes > 1:
            self._notes.on_prediction(
                "MultiScaleFlipAug has several scales and more than one Resize: tta_pipeline is left out"
            )
            return None
        return ([found.plain for found in first], *(list(found.views) for found in later))

    def _step(self, step: Any, *, inside: bool) -> _Step | None:
        name = transform_name(step)
        if name in PACKING or name in _MASKS_ONLY:
            return None
        if self._pad is not None and name != "RandomFlip":
            self._notes.refuse(f"the test pipeline has {name} after Pad")
        if name == "Pad":
            self._pad = step
            return None
        if name == "Normalize":
            if self._normalize is not None:
                self._notes.refuse("the test pipeline has more than one Normalize")
            self._normalize = step
            return None
        if name == "RandomFlip":
            return self._flip(step, inside)
        if self._normalize is not None:
            self._notes.refuse(
                f"the test pipeline has {name} after Normalize, and 1.x normalises after the pipeline"
            )
        if name == "Resize":
            self._resizes += 1
            return self._resize(step, inside)
        if name in GONE:
            self._notes.refuse(f"the test pipeline has {name}, which 1.x does not have")
        return _Step(passed_on(step), (passed_on(step),))

    def _flip(self, step: Mapping[str, Any], inside: bool) -> _Step | None:
        if not inside:
            if step.get("prob", step.get("flip_ratio")):
                self._notes.refuse("the test pipeline has RandomFlip outside of MultiScaleFlipAug")
            return None
        self._flips += 1
        views = self._views
        if views is None or not any(views.flips):
            return None
        flips = (
            {"type": "RandomFlip", "prob": float(flip is not None), "direction": flip or "horizontal"}
            for flip in views.flips
        )
        return _Step(None, tuple(flips))

    def _resize(self, step: Mapping[str, Any], inside: bool) -> _Step:
        if inside and self._views is not None:
            views = tuple(self._resize_to(step, scale) for scale in self._views.scales)
            return _Step(self._resize_to(step, self._views.plain), views)
        if self._outer is None:
            scales = read_scales(step.get("img_scale"))
            if not scales or len(scales) > 1 or step.get("ratio_range") is not None:
                self._notes.refuse("the test pipeline has a Resize of random or no scale")
            self._outer = scales[0]
        resize = self._resize_to(step, Scale(self._outer))  # the first Resize says the scale of all
        return _Step(resize, (resize,))

    def _resize_to(self, step: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
        keep, least = bool(step.get("keep_ratio", True)), step.get("min_size")
        if least is None or not keep:
            if scale.size is not None:
                return {"type": "Resize", "scale": scale.size, "keep_ratio": keep}
            if scale.ratio != 1.0:
                self._notes.on_prediction(
                    f"edges times {scale.ratio:g} are rounded to the nearest pixel, 0.x rounds them down"
                )
            return {"type": "Resize", "scale_factor": scale.ratio, "keep_ratio": keep}
        if scale.size is None or self._resizes > 1:
            self._notes.refuse("the test pipeline has a Resize with min_size and without img_scale, or twice")
        return {
            "type": "ResizeShortestEdge",
            "scale": max(int(least), min(scale.size)),
            "max_size": UNLIMITED,
        }
