"""Facts that a plain network does not contain, as the options of its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segplug.options import option
from segplug.undescribed import CLASSES_HELP, DECODING_HELP, ChannelOrderName, DecodingName

__all__ = ["AnyNetworkOptions", "NetworkOptions"]


@dataclass(frozen=True)
class NetworkOptions:
    """The options that sources of plain networks share; a source adds its own to a subclass."""

    mean: tuple[float, ...] | None = option(
        None,
        help="Mean of each channel, or one for all, in the units of the images (8-bit pixels: 0 to 255). "
        "Default: what the source knows of the network, else 0.",
    )
    std: tuple[float, ...] | None = option(
        None,
        help="Standard deviation of each channel, or one for all, in the same units. Default: what the "
        "source knows of the network, else 1.",
    )
    channel_order: ChannelOrderName | None = option(
        None, help="The order of a network's three colour channels. Default: rgb, if nothing else is known."
    )
    decoding: DecodingName | None = option(None, help=DECODING_HELP)
    classes: tuple[str, ...] = option(
        (), help=f"{CLASSES_HELP} Default: what the source knows, else class 0, class 1, ..."
    )
    multilabel: bool = option(
        False, help="Each class has a sigmoid of its own: a pixel has any number of classes, or none."
    )
    input_size: tuple[int, int] | None = option(
        None, help="Height and width that exports are made for; in pixels.", minimum=1
    )
    resize: tuple[int, int] | None = option(
        None,
        help="Height and width that images are resized to. Default: what the source knows of the network, "
        "else images keep their own size.",
        minimum=1,
    )
    keep_ratio: bool = option(
        False, help="Resize to fit into that size, without a change of the aspect ratio."
    )
    resize_algorithm: Literal["opencv", "pillow", "torchvision"] | None = option(
        None,
        help="The library whose numbers resizing gives; pillow and torchvision antialias. Default: what the "
        "source knows of the network, else opencv.",
    )
    resize_filter: Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos", "area"] | None = (
        option(
            None,
            help="The filter of the resize: area is for opencv; box and hamming are for pillow. "
            "Default: what the source knows of the network, else bilinear.",
        )
    )
    pad_divisor: int | None = option(
        None,
        help="Pad height and width up to multiples of this, at the bottom and right. Default: what the "
        "source knows that the network needs.",
        minimum=1,
    )
    crop_size: tuple[int, int] | None = option(
        None, help="Slide a window of this height and width, and average the scores.", minimum=1
    )
    stride: tuple[int, int] | None = option(
        None, help="Step of the window, height and width. Default: the window's own size.", minimum=1
    )
    threshold: float | None = option(
        None,
        help="Of a network with one channel, or with multilabel: a class is where its probability is above "
        "this. Default: 0.5.",
        minimum=0,
        maximum=1,
    )
    align_corners: bool = option(False, help="How scores are resized to the image's own size.")
    reduce_zero_label: bool = option(
        False, help="The network was trained with label 0 ignored and all others lowered by one."
    )


@dataclass(frozen=True)
class AnyNetworkOptions(NetworkOptions):
    """The options of sources that know nothing of a network, not even what it returns."""

    scores: Literal["logits", "probabilities"] = option(
        "logits", help="What the network returns: logits, or probabilities, which need not add up to 1."
    )
    output_key: str | None = option(
        None,
        help="The output that holds the scores, of a network that returns a dict, a tuple or an object: a "
        "key, the name of a field, or a number from 0.",
        metavar="NAME",
    )
