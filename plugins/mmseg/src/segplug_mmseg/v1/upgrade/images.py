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
    if test is not None and test.pad:
        found["pad_val"] = _pad_value(test)
        if found["pad_val"] is None:
            notes.refuse(
                f"Pad has pad_val={test.pad['pad_val']!r}, with which 0.x pads channels differently; "
                "1.x pads all with one number"
            )
        found["test_cfg"] = _padding(test.pad, notes)
    if train is not None and train.pad:
        _pad_for_training(found, train, notes)
    if train is not None:
        # Of images of one size nothing is padded.
        found.update(_padding(train.pad, notes) if train.pad else {"size_divisor": 1})
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


def _pad_for_training(found: dict[str, Any], train: Images, notes: Notes) -> None:
    assert train.pad is not None
    value = _pad_value(train)
    if value is None or found.get("pad_val", value) != value:
        notes.on_training(
            f"Pad of the training pipeline has pad_val={train.pad['pad_val']!r}: 1.x pads otherwise"
        )
    found.setdefault("pad_val", value or 0)
    found["seg_pad_val"] = train.pad.get("seg_pad_val", 255)


def _pad_value(images: Images) -> Any:
    """The number with which every channel is padded; ``None``: there is no such one.

    OpenCV takes one number as the value of the first channel, and pads the others with zeros.
    """
    given = images.pad.get("pad_val", 0) if images.pad else 0
    numbers = set(values(given))
    if len(numbers) > 1 or (not isinstance(given, (list, tuple)) and given != 0 and not images.grey):
        return None
    number = numbers.pop()
    return int(number) if number.is_integer() else number


def _padding(pad: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    if pad.get("size_divisor") is not None:
        return {"size_divisor": pad["size_divisor"]}
    size = pad.get("size")
    if size is None:
        notes.refuse("Pad has neither size nor size_divisor")
    return {"size": tuple(size) if isinstance(size, (list, tuple)) else (size, size)}
