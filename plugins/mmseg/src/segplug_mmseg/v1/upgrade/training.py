"""Training pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug_mmseg.pipeline.transforms import transform_name
from segplug_mmseg.v1.upgrade.images import Images
from segplug_mmseg.v1.upgrade.notes import Notes
from segplug_mmseg.v1.upgrade.transforms import (
    GONE,
    PACKING,
    load_annotations,
    pad_transform,
    passed_on,
    random_resize,
)

__all__ = ["TrainPipeline", "upgrade_train_pipeline"]


@dataclass(frozen=True)
class TrainPipeline:
    """A training pipeline of 0.x, translated."""

    steps: list[Any]
    images: Images
    reduce_zero_label: bool | None
    """What its ``LoadAnnotations`` does; ``None``: it has none."""


def upgrade_train_pipeline(pipeline: list[Any], notes: Notes) -> TrainPipeline:
    """Translate a training pipeline; what 1.x cannot do is noted."""
    steps: list[Any] = []
    normalize: Mapping[str, Any] | None = None
    pad: Mapping[str, Any] | None = None
    reduces: bool | None = None
    names = [transform_name(step) for step in pipeline]
    last = max((place for place, name in enumerate(names) if name not in PACKING), default=-1)
    for place, (name, step) in enumerate(zip(names, pipeline, strict=True)):
        if name in PACKING:
            continue
        if name == "Normalize":
            if normalize is not None:
                notes.on_training("the training pipeline normalises twice: once in 1.x")
            normalize = step
        elif name == "Pad" and place == last:
            pad = step
        elif name in GONE:
            notes.on_training(f"1.x has no transform {name}: it is left out of the training pipeline")
        else:
            if normalize is not None:
                notes.on_training(f"{name} of the training pipeline comes before the normalisation in 1.x")
            if name == "LoadAnnotations":
                reduces = bool(step.get("reduce_zero_label", False))
            steps += _translated(name, step, notes)
    if any(name in PACKING for name in names):  # a pipeline inside of another does not pack
        steps.append({"type": "PackSegInputs"})
    return TrainPipeline(steps, Images(normalize, pad), reduces)


def _translated(name: str, step: Any, notes: Notes) -> list[Any]:
    if name == "LoadAnnotations":
        return [load_annotations(step)]
    if name == "Pad":
        return [pad_transform(step)]
    if name != "Resize":
        return [passed_on(step)]
    resize = random_resize(step)
    if resize is None:
        notes.on_training(
            f"1.x has no transform like {_written(step)}: it is left out of the training pipeline"
        )
        return []
    return [resize]


def _written(step: Mapping[str, Any]) -> str:
    return f"Resize({', '.join(f'{key}={value!r}' for key, value in step.items() if key != 'type')})"
