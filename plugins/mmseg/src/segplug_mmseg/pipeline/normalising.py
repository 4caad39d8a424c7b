"""``Normalize``, as mmcv computes it in all generations: with OpenCV."""

from __future__ import annotations

import math
from typing import Any

from segplug.errors import ModelError
from segplug.preprocessing import ChannelOrder, Normalize, Step
from segplug.text import counted
from segplug_mmseg.pipeline.numbers import values

__all__ = ["normalised", "per_channel"]


def normalised(mean: Any, std: Any, *, to_rgb: bool, channels: int) -> list[Step]:
    """The steps of a ``Normalize``.

    Raises:
        ModelError: its numbers are not finite, not above 0 or not as many as channels, or mmcv cannot reverse
            so many channels.
    """
    steps: list[Step] = []
    means, deviations = per_channel(mean, "mean", channels), per_channel(std, "std", channels)
    if to_rgb:
        if channels == 3:
            steps.append(ChannelOrder((2, 1, 0)))
        elif channels not in (1, 4):  # OpenCV converts those, and mmcv does not use the result
            raise ModelError(
                f"the test pipeline normalises {channels} channels with to_rgb=True",
                hint="set to_rgb=False: mmcv refuses to reverse them",
            )
    return [*steps, Normalize(means, deviations, arithmetic="reciprocal")]


def per_channel(given: Any, name: str, channels: int) -> tuple[float, ...]:
    """The numbers of a ``mean`` or ``std``; one alone counts for all channels.

    Raises:
        ModelError: one is not finite, a ``std`` is not above 0, or there are not as many as channels.
    """
    numbers = values(given)
    if not all(math.isfinite(_as_float32(number)) for number in numbers):
        raise ModelError(f"the test pipeline normalises with a {name} that is not finite: {numbers}")
    if len(numbers) == 1:
        numbers *= channels
    if len(numbers) != channels:
        raise ModelError(
            f"the test pipeline normalises with {counted(len(numbers), 'value')} of {name}, the images have "
            f"{counted(channels, 'channel')}"
        )
    if name == "std" and min(map(_as_float32, numbers)) <= 0:
        raise ModelError(f"the test pipeline normalises with a std that is not above 0: {numbers}")
    return tuple(numbers)


def _as_float32(number: float) -> float:
    """The number as mmseg keeps it."""
    import numpy as np

    with np.errstate(over="ignore"):
        return float(np.float32(number))
