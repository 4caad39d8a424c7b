"""Values and order of the colours: rescale, normalise, flip the channels, decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segplug.preprocessing import ChannelOrder, Decoding, Normalize, Scale, Step
from segplug.text import counted
from segplug_transformers.processor.settings import Settings

__all__ = ["channels_of", "decoding_for", "flipped", "in_order", "normalised", "rescaled"]


def channels_of(config: Mapping[str, Any]) -> int:
    """The channels of the images that a network takes, by its ``config.json``."""
    backbone = config.get("backbone_config")
    for part in (config, backbone if isinstance(backbone, Mapping) else {}):
        channels = part.get("num_channels")
        if isinstance(channels, int) and not isinstance(channels, bool) and channels > 0:
            return channels
    return 3


def decoding_for(channels: int) -> Decoding:
    """How files are decoded: with Pillow, turned as EXIF says, as ``transformers.image_utils`` does."""
    return Decoding(library="pillow") if channels == 3 else Decoding.for_channels(channels)


def in_order(settings: Settings) -> tuple[Step, ...]:
    """From the order of the decoder, BGR, to that of transformers, RGB.

    Raises:
        ModelError: ``do_convert_rgb`` asks for three channels, and the network takes others.
    """
    if settings.channels == 3:
        return (ChannelOrder((2, 1, 0)),)
    if settings.flag("do_convert_rgb"):
        raise settings.refusal(
            f"do_convert_rgb is true, but the network takes {counted(settings.channels, 'channel')}",
            hint="--cfg-options preprocessor.do_convert_rgb=false",
        )
    return ()


def flipped(settings: Settings) -> tuple[Step, ...]:
    """The same, unless ``do_flip_channel_order`` asks for BGR, which is the decoder's order.

    Raises:
        ModelError: the images have no three channels to flip.
    """
    if not settings.flag("do_flip_channel_order"):
        return in_order(settings)
    if settings.channels != 3:
        raise settings.refusal(
            f"do_flip_channel_order is true, but images have {counted(settings.channels, 'channel')}"
        )
    return ()


def rescaled(settings: Settings) -> tuple[Step, ...]:
    """Multiply by ``rescale_factor``, if ``do_rescale`` says so."""
    if not settings.flag("do_rescale"):
        return ()
    factor = settings.factor("rescale_factor")
    if settings.backend == "pil":
        return (Scale(factor, operation="multiply", dtype="float64"),)
    return (Scale(factor, operation="multiply"),)


def normalised(settings: Settings) -> tuple[Step, ...]:
    """Rescale and normalise. With torchvision both are one step: mean and deviation are scaled instead."""
    if not settings.flag("do_normalize"):
        return rescaled(settings)
    mean = settings.each_channel("image_mean")
    std = settings.each_channel("image_std", above_zero=True)
    if settings.backend == "pil":
        return (*rescaled(settings), Normalize(mean, std, arithmetic="division"))
    if settings.flag("do_rescale"):
        largest = 1.0 / settings.factor("rescale_factor")
        mean, std = _scaled(mean, largest), _scaled(std, largest)
    return (Normalize(mean, std, arithmetic="division"),)


def _scaled(values: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """The products in float32, as PyTorch computes them."""
    return tuple(float(np.float32(value) * np.float32(factor)) for value in values)
