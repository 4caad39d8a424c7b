"""Compute the colours of ``segplug.palette.distinct_palette``, and measure how far apart palettes are.

    python scripts/distinct_colours.py            # the measurements that docs/pictures.md shows
    python scripts/distinct_colours.py --compute  # the table of segplug/palette_tables.py

The seven colours of Okabe and Ito that are not black come first. Each further colour is the one of a grid of
RGB colours that is farthest from all chosen ones and from black, which stands for pixels without a class. The
distance of two colours is the smallest of three: as most people see them, and as people with protanopia and
deuteranopia do (the matrices of Machado, Oliveira and Fernandes, 2009, severity 1). It is measured in OKLab
(Ottosson, 2020) times 100: 2 is about the smallest difference that is seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segplug.palette import Palette, distinct_palette, random_palette

Array = npt.NDArray[np.float64]

OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
COLOURS = 256
"""How many are stored: the values of a byte."""

GRID = 15
"""The step of the grid of colours to choose from."""

DARKEST, LIGHTEST = 38, 95
"""OKLab's lightness, times 100, of the colours to choose from: black is no class, and white is the page."""

PROTANOPIA = np.array(
    [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
)
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
VIEWS = {"all colours seen": np.eye(3), "protanopia": PROTANOPIA, "deuteranopia": DEUTERANOPIA}
"""What each kind of sight makes of linear RGB."""

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(colours: npt.ArrayLike, view: Array) -> Array:
    """RGB colours (0 to 255) ``(N, 3)`` as someone with this ``view`` sees them, in OKLab times 100."""
    encoded = np.asarray(colours, np.float64).reshape(-1, 3) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ view.T, 0, 1)
    lab: Array = np.cbrt(seen @ _TO_LMS.T) @ _TO_OKLAB.T * 100
    return lab


def distances(one: npt.ArrayLike, others: npt.ArrayLike, view: Array) -> Array:
    """The distance of each colour of ``one`` from each of ``others``, ``(N, M)``."""
    difference = oklab(one, view)[:, None] - oklab(others, view)[None]
    return np.sqrt((difference**2).sum(axis=2))


def smallest(palette: Sequence[Any], view: Array) -> float:
    """The distance of the two colours of a palette that are nearest to each other."""
    table = distances(palette, palette, view)
    np.fill_diagonal(table, np.inf)
    return float(table.min())


def compute() -> Palette:
    """The colours, in order: the first N are the palette of N classes."""
    steps = np.arange(0, 256, GRID)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = oklab(grid, np.eye(3))[:, 0]
    grid = grid[(lightness >= DARKEST) & (lightness <= LIGHTEST)]
    chosen: list[tuple[int, int, int]] = list(OKABE_ITO)
    nearest = _nearest(grid, [(0, 0, 0), *chosen])
    while len(chosen) < COLOURS:
        colour = tuple(int(value) for value in grid[int(nearest.argmax())])
        chosen.append((colour[0], colour[1], colour[2]))
        nearest = np.minimum(nearest, _nearest(grid, [colour]))
    return tuple(chosen)


def _nearest(grid: npt.NDArray[Any], colours: Sequence[Any]) -> Array:
    """How far each colour of the grid is from the nearest of ``colours``, in the worst of all views."""
    found: Array = np.min([distances(grid, colours, view).min(axis=1) for view in VIEWS.values()], axis=0)
    return found


def main() -> None:
    """Print the table, or the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--compute", action="store_true", help="print the table of colours")
    if parser.parse_args().compute:
        colours = ["{:02x}{:02x}{:02x}".format(*colour) for colour in compute()]
        for first in range(0, COLOURS, 14):
            print(" ".join(colours[first : first + 14]))
        return
    print("| classes | palette | " + " | ".join(VIEWS) + " |")
    print("| ---: | --- |" + " ---: |" * len(VIEWS))
    for count in (8, 11, 19, 21, 60, 150):
        for name, make in (("distinct", distinct_palette), ("mmseg's random", random_palette)):
            row = [f"{smallest(make(count), view):.1f}" for view in VIEWS.values()]
            print(f"| {count} | {name} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
