"""The images whose masks differ most, painted; and where they differ, in characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segplug.results import Figure

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug_analysis.serving.found import Found
    from segplug_analysis.serving.judge import Agreement

__all__ = ["difference_map", "figures_of"]

_COLUMNS = 48
"""Characters of a line."""

_SHADES = "·░▒▓█"
"""No pixel of a cell differs, up to a quarter, to a half, to three quarters, more."""


def figures_of(found: Found) -> tuple[Figure, ...]:
    """A picture for each of the worst images, those first that differ most."""
    worst = sorted(found.judgement.agreements, key=lambda one: (-one.firm_differing, -one.differing))
    return tuple(_figure(found, one) for one in worst[: found.painted])


def _figure(found: Found, one: Agreement) -> Figure:
    name = found.pictures[one.image].name
    title = f"{name}: {one.differing:,} of {one.served.size:,} pixels differ"
    return Figure(
        title=title,
        draw=lambda: _drawn(found, one),
        media_type="image/jpeg",
        description=(
            f"four views of {name}: the image, painted with PyTorch's labels, with those of the server, "
            "and in grey with marks where the two differ"
        ),
        # A few near-ties are not worth a screen.
        text=""
        if one.comparison.passed
        else f"{title}, where:\n{difference_map(one.expected != one.served)}",
    )


def _drawn(found: Found, one: Agreement) -> bytes:
    from segplug.palette import choose_palette
    from segplug_analysis.parity.paint import painted

    picture = found.pictures[one.image]
    metas = [meta for meta in (found.model, found.meta) if meta is not None]
    return painted(
        picture.decoded(),
        one.expected,
        one.served,
        palette=choose_palette([meta.palette for meta in metas], max(meta.num_classes for meta in metas)),
        name=picture.name,
        backend="server",
    )


def difference_map(differs: npt.NDArray[np.bool_]) -> str:
    """Where pixels differ, in characters that are about twice as high as wide.

    Args:
        differs: ``(H, W)``.
    """
    height, width = differs.shape
    columns = min(_COLUMNS, width)
    rows = min(max(round(columns * height / width / 2), 1), height)
    lines = []
    for band in np.array_split(differs, rows):
        shares = [float(cell.mean()) for cell in np.array_split(band, columns, axis=1)]
        # A single pixel shows, however large the cell.
        lines.append("".join(_SHADES[int(np.ceil(share * (len(_SHADES) - 1)))] for share in shares))
    return "\n".join(lines)
