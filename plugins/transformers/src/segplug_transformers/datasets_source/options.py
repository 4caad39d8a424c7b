"""The options of the data set source ``datasets``."""

from __future__ import annotations

from dataclasses import dataclass

from segplug.options import option

__all__ = ["DatasetsOptions"]


@dataclass(frozen=True)
class DatasetsOptions:
    """Which split and columns are read, and how the masks are."""

    split: str | None = option(
        None, help="The split, such as validation. Needed where the data set has several."
    )
    image_column: str | None = option(
        None, help="The column of the images; default: one with a usual name, such as image or pixel_values."
    )
    label_column: str | None = option(
        None, help="The column of the masks; default: one with a usual name, such as label or annotation."
    )
    ignore_index: int | None = option(
        None,
        help="Mask value (after any reduction) that is not scored; above 255, masks may hold 16 bits. "
        "Default: 255, or 65535 if there are names of more than 255 classes.",
        minimum=0,
        maximum=65535,
    )
    reduce_zero_label: bool = option(
        False, help="Ignore mask value 0 and lower all others by one, as for ADE20K."
    )
    classes: tuple[str, ...] = option(
        (),
        help="Class names in label order, or one .txt file with a name per line; default: those of the data "
        "set (ClassLabel), else the model's.",
    )
