"""Draw trees, hedges, people and signs, each ``across`` metres from the middle line, at ``z``."""

from __future__ import annotations

import numpy as np

from .canvas import Colour, Point
from .street import Brush, times

CLOTHES: tuple[Colour, ...] = (
    (40, 44, 60), (160, 36, 44), (220, 214, 204), (58, 82, 130), (92, 74, 56), (210, 150, 40),
    (60, 110, 84), (120, 120, 126), (30, 30, 34), (178, 96, 130),
)  # fmt: skip
SKINS: tuple[Colour, ...] = ((236, 200, 172), (206, 158, 122), (150, 104, 76), (98, 66, 50))
RED: Colour = (204, 32, 38)
PALE: Colour = (240, 240, 238)


def draw_tree(brush: Brush, across: float, z: float) -> None:
    """Draw a tree: a trunk and a crown."""
    street, rng = brush.street, brush.rng
    metre = street.scale(z)
    x, ground = street.point(across, 0, z)
    clear, radius = rng.uniform(1.9, 3.0), rng.uniform(1.2, 2.6)
    tall = radius * rng.uniform(1.0, 1.5)
    brush.shadow(across, z, radius * 1.2, 1.0)
    bark = times((92, 74, 58), rng.uniform(0.7, 1.2))
    half = rng.uniform(0.10, 0.2) * metre
    top = ground - (clear + tall * 0.6) * metre
    trunk = [(x - half, ground), (x - half * 0.6, top), (x + half * 0.6, top), (x + half, ground)]
    brush.fill(trunk, bark, depth=z, grain=0.15)
    autumn = rng.random() < 0.15
    leaf = (168, 118, 40) if autumn else (rng.uniform(48, 96), rng.uniform(92, 128), rng.uniform(38, 62))
    middle = (x, ground - (clear + tall) * metre)
    _draw_crown(brush, middle, (radius * metre, tall * metre), leaf, z, clumps=34 if metre > 14 else 14)


def _draw_crown(
    brush: Brush, middle: Point, radii: tuple[float, float], leaf: Colour, z: float, *, clumps: int
) -> None:
    """Draw clumps of leaves within an ellipse: the dark lower ones first, the bright upper ones last."""
    rng = brush.rng
    angles, reach = rng.uniform(0, 2 * np.pi, clumps), np.sqrt(rng.uniform(0, 1, clumps))
    right, up = reach * np.cos(angles), reach * np.sin(angles)
    for k in np.argsort(up):
        place = (middle[0] + right[k] * radii[0], middle[1] - up[k] * radii[1])
        size = radii[0] * rng.uniform(0.22, 0.42)
        colour = times(leaf, 0.78 + 0.3 * up[k] + rng.uniform(-0.14, 0.14))
        brush.disc(place, (size, size * rng.uniform(0.6, 0.95)), colour, depth=z, grain=0.2)


def draw_hedge(brush: Brush, across: float, start: float, end: float) -> None:
    """Draw low bushes along a wall, from ``start`` to ``end``."""
    rng = brush.rng
    leaf = (rng.uniform(40, 80), rng.uniform(84, 120), rng.uniform(34, 56))
    height = rng.uniform(0.7, 1.5)
    for z in np.arange(max(start, 2.5), end, 0.55)[::-1]:
        metre = brush.street.scale(z)
        place = brush.street.point(across, height * 0.45, z)
        radii = (0.55 * metre, height * 0.55 * metre * rng.uniform(0.85, 1.1))
        brush.disc(place, radii, times(leaf, rng.uniform(0.75, 1.2)), depth=z, grain=0.2)


def draw_person(brush: Brush, across: float, z: float) -> None:
    """Draw a person who stands or walks. Heights of the parts are shares of the person's height."""
    street, rng = brush.street, brush.rng
    tall = rng.uniform(1.5, 1.9)
    top, trousers = brush.pick(CLOTHES), brush.pick(CLOTHES)
    skin, hair = brush.pick(SKINS), times((60, 44, 32), rng.uniform(0.3, 2.4))
    stride, swing = rng.uniform(0.02, 0.26), rng.uniform(-0.15, 0.15)
    wide = rng.uniform(0.19, 0.26)
    brush.shadow(across, z, 0.35, 0.6)

    def shape(outline: list[tuple[float, float]], colour: Colour) -> None:
        brush.fill([street.point(across + x, y * tall, z) for x, y in outline], colour, depth=z, grain=0.05)

    def limb(a: tuple[float, float], b: tuple[float, float], thick: float, colour: Colour) -> None:
        joint = [(a[0] - thick, a[1]), (a[0] + thick, a[1])]
        shape([*joint, (b[0] + thick * 0.8, b[1]), (b[0] - thick * 0.8, b[1])], colour)

    limb((-0.06, 0.5), (-0.06 - stride, 0.0), 0.085, times(trousers, 0.85))
    limb((0.06, 0.5), (0.06 + stride, 0.0), 0.085, trousers)
    limb((-wide, 0.8), (-wide - 0.06 - swing, 0.47), 0.06, times(top, 0.82))
    hips = [(-wide * 0.8, 0.47), (wide * 0.8, 0.47)]
    shape([(-wide, 0.82), *hips, (wide, 0.82), (0.08, 0.86), (-0.08, 0.86)], top)
    limb((wide, 0.8), (wide + 0.06 + swing, 0.47), 0.06, times(top, 1.1))
    x, y = street.point(across, tall * 0.93, z)
    radius = 0.125 * street.scale(z)
    brush.disc((x, y), (radius * 0.85, radius), skin, depth=z)
    brush.disc((x, y - radius * 0.4), (radius * 0.9, radius * 0.75), hair, depth=z)


def draw_sign(brush: Brush, across: float, z: float) -> None:
    """Draw a post with a lamp, a traffic sign or a traffic light."""
    street, rng = brush.street, brush.rng
    metre = street.scale(z)
    steel = times((128, 130, 134), rng.uniform(0.45, 1.25))
    kind = str(rng.choice(("lamp", "sign", "light"), p=(0.3, 0.45, 0.25)))
    tallest = {"lamp": rng.uniform(5, 7), "sign": rng.uniform(2.1, 2.7), "light": rng.uniform(2.8, 3.4)}
    height, half = tallest[kind], rng.uniform(0.09, 0.14)

    def box(x0: float, x1: float, y0: float, y1: float, colour: Colour) -> None:
        corners = ((x0, y0), (x0, y1), (x1, y1), (x1, y0))
        brush.fill([street.point(across + x, y, z) for x, y in corners], colour, depth=z, grain=0.04)

    box(-half, half, 0, height, steel)
    x, y = street.point(across, height, z)
    if kind == "lamp":
        reach = -1.3 if across > 0 else 1.3  # over the road
        box(min(0, reach), max(0, reach), height - 0.2, height, steel)
        glow = (255, 236, 190) if street.dark else times(steel, 1.2)
        brush.disc((x + reach * metre, y + 0.1 * metre), (0.42 * metre, 0.2 * metre), glow, depth=z)
    elif kind == "light":
        box(-0.19, 0.19, height - 0.9, height, (34, 36, 34))
        on = int(rng.integers(3))
        for k, colour in enumerate(((230, 40, 36), (240, 190, 50), (50, 220, 110))):
            lens = colour if k == on else times(colour, 0.28)
            middle = (x, y + (0.17 + 0.28 * k) * metre)
            brush.disc(middle, (0.1 * metre, 0.1 * metre), lens, depth=z)
    else:
        _draw_plate(brush, (x, y), metre, z)


def _draw_plate(brush: Brush, middle: Point, metre: float, z: float) -> None:
    """Draw a round, triangular or square traffic sign."""
    x, y = middle
    size = brush.rng.uniform(0.36, 0.48) * metre
    kind = int(brush.rng.integers(4))
    if kind == 0:
        brush.disc(middle, (size, size), RED, depth=z)
        brush.disc(middle, (size * 0.7, size * 0.7), PALE, depth=z)
    elif kind == 1:
        brush.disc(middle, (size, size), (28, 84, 176), depth=z)
        arrow = [(x - size * 0.5, y), (x, y - size * 0.6), (x + size * 0.5, y)]
        brush.detail(arrow, (240, 240, 240), depth=z)
    elif kind == 2:
        for s, colour in ((size, RED), (size * 0.62, (244, 236, 214))):
            corners = [(x, y - s * 1.1), (x + s, y + s * 0.7), (x - s, y + s * 0.7)]
            brush.fill(corners, colour, depth=z)
    else:
        for s, colour in ((size, (236, 190, 40)), (size * 0.7, (246, 244, 232))):
            brush.fill([(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)], colour, depth=z)
