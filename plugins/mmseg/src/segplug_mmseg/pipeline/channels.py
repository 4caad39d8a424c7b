"""How many channels images have: as the test pipeline says it, and as the network takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from segplug.errors import ModelError
from segplug.text import counted
from segplug_mmseg.pipeline.decoding import Loading
from segplug_mmseg.pipeline.numbers import values
from segplug_mmseg.values import is_list

__all__ = ["find_channels", "normalised_channels"]


def find_channels(
    loading: Loading,
    normalised: Iterable[int],
    network: int | None,
    takes: Callable[[int], bool],
    *,
    where: str = "mean and std of Normalize",
) -> int:
    """The channels of the images.

    Args:
        loading: How images are loaded.
        normalised: How many channels are normalised, each time that they are.
        network: Input channels of the network's first convolution; ``None``: it has none.
        takes: Whether the network runs with so many channels. It is asked only where the pipeline and the
            first convolution differ: a network of the user's own may have another one first.
        where: The settings that say how many are normalised, for messages.

    Raises:
        ModelError: the pipeline contradicts itself, or the network does not take its images.
    """
    hint = f"set in_channels of model.backbone, color_type of LoadImageFromFile, and {where}"
    known, what = loading.channels, ""
    if known is not None:
        what = f"{loading.how} ({counted(known, 'channel')})"
    for count in normalised:
        normalises = f"normalises {counted(count, 'channel')}"
        if known is not None and count != known:
            raise ModelError(f"the test pipeline {what}, but {normalises}", hint=hint)
        known, what = count, normalises
    if known is None:
        return 3 if network is None else network
    if network is None or network == known or takes(known):
        return known
    raise ModelError(f"the test pipeline {what}, the network takes {network}", hint=hint)


def normalised_channels(transforms: Any) -> Iterator[int]:
    """The number of means and deviations of each Normalize; one alone counts for any number of channels."""
    for transform in transforms if is_list(transforms) else ():
        if not isinstance(transform, dict):
            continue
        if transform.get("type") == "Normalize":
            for name in ("mean", "std"):
                if len(values(transform[name])) != 1:
                    yield len(values(transform[name]))
        yield from normalised_channels(transform.get("transforms"))
