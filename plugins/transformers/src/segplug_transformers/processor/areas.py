"""Crops and padding of a processor. Neither is undone: its output is stretched over the whole image."""

from __future__ import annotations

from segplug.preprocessing import Crop, Pad, Step
from segplug_transformers.processor.settings import Settings
from segplug_transformers.processor.sizes import area_of

__all__ = ["centre_crop", "pad_to", "pad_to_multiple"]


def centre_crop(settings: Settings) -> tuple[Step, ...]:
    """Cut out the centre, if ``do_center_crop`` says so.

    Raises:
        ModelError: there is no ``crop_size``, or it has no height and width.
    """
    if not settings.flag("do_center_crop"):
        return ()
    size = area_of(settings, "crop_size")
    # The two forms put an odd line of zeros at different ends of an image that is smaller.
    return (Crop(size, longer="start") if settings.backend == "pil" else Crop(size),)


def pad_to(size: tuple[int, int], *, centred: bool = False) -> Pad:
    """Zeros at the bottom and right, or on all sides, up to (height, width)."""
    return Pad(size=size, cut=False, centred=centred)


def pad_to_multiple(settings: Settings) -> tuple[Step, ...]:
    """Zeros on all sides up to multiples of ``size_divisor``, as for DPT.

    Raises:
        ModelError: there is no ``size_divisor``, and torchvision's form stops without one.
    """
    divisor = settings.whole("size_divisor")
    if not settings.flag("do_pad") or (divisor is None and settings.backend == "pil"):
        return ()
    if divisor is None or divisor < 1:
        raise settings.refusal(f"do_pad is true, but size_divisor is {divisor}")
    return (Pad(divisor=divisor, cut=False, centred=True),)
