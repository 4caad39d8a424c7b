"""The options of the source ``torchvision``."""

from __future__ import annotations

from dataclasses import dataclass

from segplug_torch.undescribed.options import NetworkOptions

from segplug.errors import UsageError
from segplug.options import option

__all__ = ["Options", "short_edge"]


@dataclass(frozen=True)
class Options(NetworkOptions):
    """Options of the model source ``torchvision``."""

    resize_size: int | None = option(
        None,
        help="The short edge that images are resized to, in pixels; 0: they keep their own size. Default: as "
        "torchvision's weights say (520); with crop_size the image's own size.",
        minimum=0,
    )


def short_edge(options: Options, default: int | None) -> int | None:
    """The short edge that images are resized to, unless ``resize`` says otherwise; ``None``: their own size.

    Args:
        options: The options.
        default: What the weights say.

    Raises:
        UsageError: two sizes are given.
    """
    if options.resize_size is not None and options.resize is not None:
        raise UsageError(
            "resize_size is a short edge, and resize a height and a width", hint="leave out one of them"
        )
    if options.resize_size is not None:
        return options.resize_size or None
    return default if options.crop_size is None else None
