"""Transforms of pipelines, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug_mmseg.pipeline.numbers import UNLIMITED, lists_scales, read_scales
from segplug_mmseg.v1.upgrade.plain import without

__all__ = [
    "GONE",
    "PACKING",
    "backend_args",
    "load_annotations",
    "pad_transform",
    "passed_on",
    "random_resize",
]

PACKING = ("Collect", "DefaultFormatBundle", "ImageToTensor", "ToDataContainer", "ToTensor")
"""They pack images and masks; ``PackSegInputs`` does so in 1.x."""

GONE = ("Transpose",)
"""Transforms of 0.x that 1.x has not, besides those that pack."""


def backend_args(step: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with ``file_client_args`` as 1.x has them: ``backend_args``, and none for the disk."""
    client = step.get("file_client_args")
    rest = without(step, "file_client_args")
    if not client or client.get("backend", "disk") == "disk":
        return rest
    return {**rest, "backend_args": dict(client)}


def load_annotations(step: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``LoadAnnotations`` that reduces labels where its data set does."""
    return backend_args(without({"type": "LoadAnnotations", **(step or {})}, "reduce_zero_label"))


def passed_on(step: Any) -> Any:
    """A transform that both generations have."""
    if not isinstance(step, dict):
        return step
    step = backend_args(step)
    if step.get("type") == "RandomCrop" and isinstance(step.get("crop_size"), list):
        step["crop_size"] = tuple(step["crop_size"])  # 1.x refuses lists
    if step.get("type") == "RandomFlip":
        if "flip_ratio" in step:  # its name in the first versions
            step["prob"] = step.pop("flip_ratio")
        if isinstance(step.get("prob"), int):
            step["prob"] = float(step["prob"])  # 1.x refuses whole numbers
    return step


def pad_transform(step: Mapping[str, Any]) -> dict[str, Any]:
    """``Pad`` as a transform: its size is (width, height) in 1.x, and its two values are one setting."""
    rest = without(step, "pad_val", "seg_pad_val")
    if rest.get("size") is not None:
        rest["size"] = tuple(rest["size"])[::-1]
    return {**rest, "pad_val": {"img": step.get("pad_val", 0), "seg": step.get("seg_pad_val", 255)}}


def random_resize(step: Mapping[str, Any]) -> dict[str, Any] | None:
    """A ``Resize`` of a training pipeline; ``None``: 1.x has no such one."""
    scales, keep = read_scales(step.get("img_scale")), bool(step.get("keep_ratio", True))
    ratio, many = step.get("ratio_range"), lists_scales(step.get("img_scale"))
    if not scales or (step.get("min_size") is not None and keep):
        return None
    if ratio is not None:
        return {"type": "RandomResize", "scale": scales[0], "ratio_range": tuple(ratio), "keep_ratio": keep}
    if not many or len(scales) == 1:
        return {"type": "Resize", "scale": scales[0], "keep_ratio": keep}
    if step.get("multiscale_mode", "range") == "value":
        return {"type": "RandomChoiceResize", "scales": scales, "keep_ratio": keep}
    if len(scales) != 2 or UNLIMITED in (*scales[0], *scales[1]):
        return None
    # 0.x draws the long edge and the short one.
    ordered = [(max(scale), min(scale)) for scale in scales]
    return {"type": "RandomResize", "scale": ordered, "keep_ratio": keep}
