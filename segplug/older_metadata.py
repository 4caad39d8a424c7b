"""Upgrade the metadata of older schemas, so that artifacts of older versions of segplug still run.

Data of an older schema may be damaged: what is not as expected is passed on, and refused when it is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["UPGRADES"]


def _ordered_steps(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 to 2: one fixed order (resize, colour order, normalise, pad) becomes a list of steps."""
    current = {key: value for key, value in data.items() if key not in _REPLACED}
    resize, pad = data.get("resize"), data.get("pad")
    steps: list[Any] = []
    if resize is not None:
        steps += _resizes(resize)
    order = data.get("channel_order", "rgb")
    if order != "bgr":
        steps.append({"step": "channel_order", "order": [2, 1, 0] if order == "rgb" else order})
    mean, std = data.get("mean", [0.0] * 3), data.get("std", [1.0] * 3)
    steps.append({"step": "normalize", "mean": mean, "std": std})
    if pad is not None:
        steps.append(_pad(pad))
    return current | {"preprocessing": steps}


_REPLACED = ("resize", "channel_order", "mean", "std", "pad")


def _resizes(resize: Any) -> list[Any]:
    if not isinstance(resize, Mapping):
        return [resize]
    first = {"step": "resize"} | {key: value for key, value in resize.items() if key != "keep_ratio"}
    multiple = first.pop("multiple_of", None)
    keep = resize.get("keep_ratio", False)
    first["fit"] = "inside" if keep is True else "exact" if keep is False else keep
    steps: list[Any] = [first]
    if multiple is not None:  # a resize of its own: two of them round twice
        steps.append({"step": "resize", "multiple_of": multiple})
    return steps


def _pad(pad: Any) -> Any:
    if not isinstance(pad, Mapping):
        return pad
    value = pad.get("value", 0.0)
    # OpenCV read a single number as (value, 0, 0).
    padded = {key: each for key, each in pad.items() if key != "value"}
    return {"step": "pad"} | padded | ({"value": [value, 0.0, 0.0]} if value != 0 else {})


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _ordered_steps}
"""For each older schema, the step that changes its data to the next schema."""
