"""What becomes of ``Normalize`` and ``Pad``: the model's data preprocessor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug_mmseg.pipeline.numbers import values
from segplug_mmseg.v1.upgrade.notes import Notes

__all__ = ["Images", "data_preprocessor"]


@dataclass(frozen=True)
class Images:
    """What a pipeline does to images at its end."""

    normalize: Mapping[str, Any] | None = None
    """Settings of its ``Normalize``."""
    pad: Mapping[str, Any] | None = None
    """Settings of its ``Pad``."""
    grey: bool = False
    """Whether images are known to have one channel."""


def data_preprocessor(test: Images | None, train: Images | None, notes: Notes) -> dict[str, Any]:
    """``model.data_preprocessor`` of what the test pipeline and the training pipeline did.

    Args:
        test: Of the test pipeline; ``None``: there is none.
        train: Of the training pipeline; ``None``: there is none.
        notes: Gets what training did otherwise, and refuses what cannot be done in prediction.
    """
    images = test or train or Images()
    found: dict[str, Any] = {"type": "SegDataPreProcessor", **_normalisation(images, notes)}
    if test and train and _normalisation(train, notes) != _normalisation(test, notes):
        notes.on_training(
            "the training pipeline normalises otherwise than the test pipeline: 1.x does as the test does"
        )
    padding = [one.pad for one in (test, train) if one and one.pad]
    if padding:
        found["pad_val"] = _pad_value(padding[0], notes)
        found["seg_pad_val"] = padding[-1].get("seg_pad_val", 255)
    if len(padding) == 2 and padding[0].get("pad_val", 0) != padding[1].get("pad_val", 0):
        notes.on_training("the training pipeline pads images with another value than the test pipeline")
    if train is not None:
        # Of images of one size nothing is padded.
        found.update(_padding(train.pad, notes) if train.pad else {"size_divisor": 1})
    if test is not None and test.pad:
        found["test_cfg"] = _padding(test.pad, notes)
    return found


def _normalisation(images: Images, notes: Notes) -> dict[str, Any]:
    normalize = images.normalize
    if normalize is None:
        return {}
    mean, std = values(normalize["mean"]), values(normalize["std"])
    if len(mean) != len(std) or (len(mean) == 1 and not images.grey):
        notes.refuse(
            f"Normalize has {len(mean)} means and {len(std)} deviations, which 0.x and 1.x read differently",
            hint="write one mean and one deviation for each channel",
        )
    return {"mean": mean, "std": std, "bgr_to_rgb": bool(normalize.get("to_rgb", True))}


def _pad_value(pad: Mapping[str, Any], notes: Notes) -> Any:
    value = pad.get("pad_val", 0)
    if not isinstance(value, (int, float)):
        notes.refuse(f"Pad has pad_val={value!r}, 1.x pads all channels with one number")
    return value


def _padding(pad: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    if pad.get("size_divisor") is not None:
        return {"size_divisor": pad["size_divisor"]}
    size = pad.get("size")
    if size is None:
        notes.refuse("Pad has neither size nor size_divisor")
    return {"size": tuple(size) if isinstance(size, (list, tuple)) else (size, size)}
