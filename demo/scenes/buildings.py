"""Draw houses along the street and across its end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .canvas import NEAR, Colour, Point
from .street import PAINTS, Brush, times

WALLS: tuple[Colour, ...] = (
    (168, 98, 78), (196, 176, 146), (150, 150, 152), (205, 198, 186), (122, 92, 80), (176, 140, 104),
    (108, 118, 128), (214, 190, 150), (142, 74, 62), (184, 186, 180),
)  # fmt: skip
ROOFS: tuple[Colour, ...] = ((92, 60, 52), (70, 72, 78), (120, 72, 56), (58, 52, 50))
LIT_WINDOW: Colour = (255.0, 214.0, 140.0)

Facade = Callable[[float, float], Point]
"""From ``z`` along a wall and height ``y`` to the pixel."""


def draw_building(brush: Brush, side: int, edge: float, start: float, end: float) -> None:
    """Draw a house on one side (-1 left, 1 right), ``edge`` metres from the middle line, from start to end.

    Side 0 is the row of houses across the end of the street, ``edge`` metres to both sides.
    """
    street, rng = brush.street, brush.rng
    wall, height = brush.pick(WALLS), rng.uniform(4.5, 16)
    grain = rng.uniform(0.02, 0.07)
    if side == 0:
        _draw_backdrop(brush, edge, start)
        return
    lit = times(wall, 1.0 if side == street.sunny_side else 1 - 0.7 * street.sun)
    near = max(start, NEAR)
    _draw_front(brush, side, edge, near, end, height, times(wall, 1 - 0.35 * street.sun), grain)

    def facade(z: float, y: float) -> Point:
        return street.point(side * edge, y, z)

    # Draw the wall in parts: along a bent street it is not a plane, and haze increases with the distance.
    cuts = np.linspace(near, end, 5)
    for a, b in zip(cuts[-2::-1], cuts[:0:-1], strict=True):
        brush.fill(_quad(facade, a, b, 0, height), lit, depth=a, grain=grain)
    _draw_windows(brush, facade, lit, near, end, height)
    cornice = times(lit, rng.uniform(0.6, 1.25))
    brush.fill(_quad(facade, near, end, height - 0.35, height), cornice, depth=near)


def _draw_front(
    brush: Brush, side: int, edge: float, near: float, end: float, height: float, wall: Colour, grain: float
) -> None:
    """Draw the wall that faces the camera, and on some houses a pitched roof."""
    street, rng = brush.street, brush.rng
    deep, middle = side * (edge + 12), side * (edge + 5)
    pitched = rng.random() < 0.4
    ridge = height + rng.uniform(2, 4)
    outline = [(side * edge, 0, near), (side * edge, height, near), (deep, height, near), (deep, 0, near)]
    if pitched:
        slope = [(side * edge, height, end), (side * edge, height, near), (middle, ridge, near)]
        slope.append((middle, ridge, end))
        brush.fill([street.point(*p) for p in slope], brush.pick(ROOFS), depth=near, grain=0.06)
        outline.insert(2, (middle, ridge, near))
    brush.fill([street.point(*p) for p in outline], wall, depth=near, grain=grain)


def _draw_windows(brush: Brush, facade: Facade, wall: Colour, near: float, end: float, height: float) -> None:
    """Draw rows of windows, on some houses above shop windows."""
    rng = brush.rng
    glass = times((96, 112, 130), rng.uniform(0.45, 1.1))
    frame = times(wall, rng.choice((0.72, 1.2)))
    across, storey = rng.uniform(1.9, 3.2), rng.uniform(2.7, 3.5)
    wide, tall = across * rng.uniform(0.4, 0.62), storey * rng.uniform(0.45, 0.62)
    shop = rng.random() < 0.4
    awning = brush.pick(PAINTS)
    border = 0.12
    for z in np.arange(near + 0.5, end - wide - 0.2, across)[::-1]:
        for floor in range(int((height - 0.6) / storey)):
            y = floor * storey + 0.9
            low, high = (0.3, 2.3) if floor == 0 and shop else (y, y + tall)
            pane = glass
            if brush.street.dark and rng.random() < 0.4:
                pane = LIT_WINDOW
            elif rng.random() < 0.15:
                pane = times(glass, 1.5)
            outer = _quad(facade, z - border, z + wide + border, low - border, high + border)
            brush.detail(outer, frame, depth=z)
            brush.detail(_quad(facade, z, z + wide, low, high), pane, depth=z)
    if shop:
        brush.detail(_quad(facade, near, end, 2.45, 3.0), awning, depth=near)


def _quad(facade: Facade, z0: float, z1: float, y0: float, y1: float) -> list[Point]:
    return [facade(z0, y0), facade(z0, y1), facade(z1, y1), facade(z1, y0)]


def _draw_backdrop(brush: Brush, edge: float, z: float) -> None:
    """Draw houses side by side across the end of the street."""
    street, rng = brush.street, brush.rng
    left = -edge
    while left < edge:
        wide, height = rng.uniform(8, 18), rng.uniform(6, 20)
        box = [(left, 0, z), (left, height, z), (left + wide, height, z), (left + wide, 0, z)]
        brush.fill([street.point(*p) for p in box], brush.pick(WALLS), depth=z, grain=0.05)
        for x in np.arange(left + 1.2, left + wide - 1.2, 3.0):
            for y in np.arange(1.2, height - 1.8, 3.2):
                pane = [(x, y, z), (x, y + 1.6, z), (x + 1.3, y + 1.6, z), (x + 1.3, y, z)]
                brush.detail([street.point(*p) for p in pane], (80, 92, 104), depth=z)
        left += wide
