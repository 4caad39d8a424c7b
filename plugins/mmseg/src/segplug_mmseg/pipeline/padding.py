"""The value of ``Pad``, as OpenCV takes it in all generations."""

from __future__ import annotations

import math
from typing import Any

from segplug.errors import ModelError
from segplug.text import counted
from segplug_mmseg.pipeline.numbers import values
from segplug_mmseg.values import is_list

__all__ = ["SCALAR_CHANNELS", "pad_value"]

SCALAR_CHANNELS = 4
"""Up to so many channels, OpenCV takes one number as the value of the first; the others get zeros."""


def pad_value(given: Any, channels: int) -> tuple[float, ...]:
    """The value of each channel; empty: zeros.

    Args:
        given: One number, or a list with one for each channel.
        channels: Channels of the images.

    Raises:
        ModelError: mmcv refuses it.
    """
    value = values(given)
    if not all(map(math.isfinite, value)):
        raise ModelError(f"the test pipeline pads with a value that is not finite: {given}")
    if is_list(given):
        if len(value) != channels:
            raise ModelError(
                f"the test pipeline pads with {counted(len(value), 'value')}, the images have "
                f"{counted(channels, 'channel')}"
            )
    elif value[0] and channels > SCALAR_CHANNELS:
        raise ModelError(
            f"the test pipeline pads {channels} channels with one value, which mmcv refuses",
            hint="give a pad_val of one value for each channel",
        )
    else:  # as OpenCV takes it: the other channels get zeros
        value += [0.0] * (channels - 1)
    return tuple(value) if any(value) else ()
