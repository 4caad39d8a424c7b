"""The options of the source ``transformers``: whose resizing the numbers are of, and sliding windows."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from segplug.errors import UsageError
from segplug.model import Inference
from segplug.options import option

__all__ = ["Backend", "Options", "installed_backend", "windows"]

Backend = Literal["pil", "torchvision"]
"""The two forms of each processor of transformers, which resize differently."""


@dataclass(frozen=True)
class Options:
    """Options of the model source ``transformers``."""

    processor: Literal["auto", "pil", "torchvision"] = option(
        "auto",
        help="Whose numbers the preprocessing gives: those of the processor that uses Pillow, or of the one "
        "that uses torchvision. auto: the one that transformers itself would take, torchvision's where "
        "torchvision is installed.",
    )
    crop_size: tuple[int, int] | None = option(
        None,
        help="Slide a window of this height and width over the image at its own size, without the "
        "processor's resize and crop, and average the scores.",
        minimum=1,
    )
    stride: tuple[int, int] | None = option(
        None, help="Step of the window, height and width. Default: the window's own size.", minimum=1
    )


def windows(options: Options) -> Inference | None:
    """The windows that a user asks for; ``None``: the model runs as its processor says.

    Raises:
        UsageError: the step is larger than the window, or there is no window.
    """
    crop, stride = options.crop_size, options.stride
    if crop is None:
        if stride is not None:
            raise UsageError("stride is the step of a window", hint="add crop_size=HEIGHT,WIDTH")
        return None
    if stride is not None and (stride[0] > crop[0] or stride[1] > crop[1]):
        raise UsageError("stride is larger than crop_size: pixels between the windows would get no label")
    return Inference("slide", crop_size=crop, stride=stride or crop)


def installed_backend() -> Backend:
    """The form of a processor that transformers itself takes in this environment; nothing is imported."""
    return "torchvision" if importlib.util.find_spec("torchvision") else "pil"
