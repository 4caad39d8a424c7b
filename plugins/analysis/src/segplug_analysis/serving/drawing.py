"""The images whose masks differ most, as pictures and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segplug.results import Figure

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug_analysis.serving.mask_checks import Agreement
    from segplug_analysis.serving.measurements import Measurements

__all__ = ["difference_map", "figures_of"]

_COLUMNS = 48
"""Characters in a line."""

_SHADES = "·░▒▓█"
"""The share of a cell's pixels that differ: none, up to 1/4, up to 1/2, up to 3/4, more."""


def figures_of(measured: Measurements) -> tuple[Figure, ...]:
    """A picture of each of the worst images, the worst first."""
    worst = sorted(measured.checks.agreements, key=lambda one: (-one.firm_differing, -one.differing))
    return tuple(_figure(measured, one) for one in worst[: measured.painted])


def _figure(measured: Measurements, one: Agreement) -> Figure:
    name = measured.pictures[one.image].name
    title = f"{name}: {one.differing:,} of {one.served.size:,} pixels differ"
    return Figure(
        title=title,
        draw=lambda: _draw(measured, one),
        media_type="image/jpeg",
        description=(
            f"four views of {name}: the image, painted with PyTorch's labels, with those of the server, "
            "and in grey with marks where the two differ"
        ),
        # A few near-ties need no text on the screen.
        text=None
        if one.comparison.passed
        else lambda screen: f"{title}, at these places:\n{difference_map(one.expected != one.served)}",
    )


def _draw(measured: Measurements, one: Agreement) -> bytes:
    from segplug.palette import label_colours, label_palette
    from segplug.runtime.view import Viewer
    from segplug_analysis.difference_picture import difference_picture

    picture = measured.pictures[one.image]
    metas = [meta for meta in (measured.model, measured.meta) if meta is not None]
    classes = max(meta.num_classes for meta in metas)
    palettes = [meta.palette for meta in metas]
    if metas[0].multilabel:
        colours = label_colours(palettes, classes, multilabel=True).of_labels
    else:
        colours = label_palette(palettes, classes)
    return difference_picture(
        Viewer(metas[0].decoding, measured.bands)(picture.decoded(metas[0])),
        one.expected,
        one.served,
        palette=colours,
        name=picture.name,
        backend="server",
    )


def difference_map(differs: npt.NDArray[np.bool_]) -> str:
    """A map of the differing pixels, in characters, which are about twice as high as wide.

    Args:
        differs: ``(H, W)``.
    """
    height, width = differs.shape
    columns = min(_COLUMNS, width)
    rows = min(max(round(columns * height / width / 2), 1), height)
    lines = []
    for band in np.array_split(differs, rows):
        shares = [float(cell.mean()) for cell in np.array_split(band, columns, axis=1)]
        # Rounded up: a single pixel is visible in a cell of any size.
        lines.append("".join(_SHADES[int(np.ceil(share * (len(_SHADES) - 1)))] for share in shares))
    return "\n".join(lines)
