"""The options of the source ``python``: facts that a plain module does not contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segplug.options import option

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Options of the model source ``python``."""

    mean: tuple[float, float, float] | None = option(
        None, help="Mean of each channel, in the units of 8-bit pixels (0 to 255). Default: 0."
    )
    std: tuple[float, float, float] | None = option(
        None, help="Standard deviation of each channel, in the same units. Default: 1."
    )
    channel_order: Literal["rgb", "bgr"] = option("rgb", help="The order of the network's input channels.")
    classes: tuple[str, ...] = option(
        (),
        help="Class names in label order, one .txt file with a name per line, or their number. "
        "Default: class 0, class 1, ...",
    )
    input_size: tuple[int, int] | None = option(
        None, help="Height and width that exports are made for; in pixels.", minimum=1
    )
    resize: tuple[int, int] | None = option(
        None,
        help="Height and width that images are resized to. Default: images keep their own size.",
        minimum=1,
    )
    keep_ratio: bool = option(
        False, help="Resize to fit into that size, without a change of the aspect ratio."
    )
    pad_divisor: int | None = option(
        None, help="Pad height and width up to multiples of this, at the bottom and right.", minimum=1
    )
    crop_size: tuple[int, int] | None = option(
        None, help="Slide a window of this height and width, and average the logits.", minimum=1
    )
    stride: tuple[int, int] | None = option(
        None, help="Step of the window, height and width. Default: the window's own size.", minimum=1
    )
    threshold: float | None = option(
        None,
        help="Of a network with one channel: foreground where sigmoid(logit) is above this. Default: 0.5.",
        minimum=0,
        maximum=1,
    )
    align_corners: bool = option(False, help="How logits are resized to the image's own size.")
    reduce_zero_label: bool = option(
        False, help="The network was trained with label 0 ignored and all others lowered by one."
    )
