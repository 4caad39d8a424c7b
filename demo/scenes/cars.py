"""Draw cars: a side view, extended over the car's width, with windows, lights, plate and wheels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .canvas import Colour, Point
from .street import PAINTS, Brush, times

Profile = tuple[tuple[float, float], ...]
PROFILES: dict[str, Profile] = {
    "hatchback": (
        (0.0, 0.3), (0.02, 0.92), (0.14, 1.42), (0.58, 1.46), (0.76, 0.95), (0.98, 0.78), (1.0, 0.3),
    ),
    "saloon": ((0.0, 0.3), (0.02, 0.9), (0.2, 1.4), (0.56, 1.42), (0.73, 0.93), (0.98, 0.76), (1.0, 0.3)),
    "jeep": ((0.0, 0.38), (0.01, 1.05), (0.06, 1.72), (0.6, 1.74), (0.74, 1.1), (0.98, 0.98), (1.0, 0.38)),
    "van": ((0.0, 0.35), (0.0, 1.15), (0.03, 2.15), (0.78, 2.18), (0.92, 1.2), (0.99, 0.95), (1.0, 0.35)),
}  # fmt: skip
"""Side views: (share of the length from the rear, metres above the ground), over the roof to the front."""
BLACK: Colour = (24, 24, 26)

Body = Callable[[float, float, float], Point]
"""From share of the length, metres above the ground, and -1 (left) to 1 (right), to the pixel."""


def draw_car(brush: Brush, across: float, z: float, side: int) -> None:
    """Draw a car with its near end at ``z``. On the left side of the street (-1) it faces the camera."""
    street, rng = brush.street, brush.rng
    kind = str(rng.choice(tuple(PROFILES), p=(0.4, 0.25, 0.2, 0.15)))
    profile, faces_camera = PROFILES[kind], side < 0
    if faces_camera:
        profile = tuple((1.0 - t, y) for t, y in reversed(profile))
    long, half = rng.uniform(3.9, 4.6) * (1.15 if kind == "van" else 1.0), rng.uniform(0.84, 0.96)
    paint = brush.pick(PAINTS)
    glass = times((58, 68, 80), rng.uniform(0.6, 1.3))
    brush.shadow(across, z, half * 1.15, long)
    belt = profile[-2][1] if faces_camera else profile[1][1]

    def body(share: float, y: float, x: float) -> Point:
        inset = 0.16 * max(0.0, y - belt) / max(0.3, 1.45 - belt)  # it narrows above the belt
        return street.point(across + x * (half - min(inset, 0.2)), y, z + share * long)

    for x in (-0.86, 0.62):  # the near tyres, below the bumper
        brush.fill(_patch(body, x, x + 0.24, 0.0, 0.4), BLACK, depth=z)
    windows = (2, 4) if faces_camera else (1, 3)
    for k in range(len(profile) - 2, -1, -1):
        (t0, y0), (t1, y1) = profile[k], profile[k + 1]
        strip = [body(t0, y0, -1), body(t0, y0, 1), body(t1, y1, 1), body(t1, y1, -1)]
        brush.fill(strip, times(paint, 1.12 if abs(y1 - y0) < 0.2 else 0.88), depth=z, grain=0.03)
        if k in windows:
            pane = [body(t0, y0 + 0.04, -0.9), body(t0, y0 + 0.04, 0.9)]
            pane += [body(t1, y1 - 0.05, 0.88), body(t1, y1 - 0.05, -0.88)]
            brush.detail(pane, glass, depth=z)
    _draw_end(brush, body, profile, faces_camera, z)
    left, right = (street.centre(z) + across + s * half for s in (-1, 1))
    if left > 0 or right < 0:
        _draw_flank(brush, body, profile, -1 if left > 0 else 1, times(paint, 0.74), glass, z)


def _patch(body: Body, x0: float, x1: float, y0: float, y1: float, share: float = 0.0) -> list[Point]:
    return [body(share, y0, x0), body(share, y1, x0), body(share, y1, x1), body(share, y0, x1)]


def _draw_end(brush: Brush, body: Body, profile: Profile, faces_camera: bool, z: float) -> None:
    """Draw lights, number plate and bumper of the near end."""
    low, high = profile[0][1], profile[1][1]
    y = low + 0.62 * (high - low)
    lamp = (206, 30, 30)
    if faces_camera:
        lamp = (250, 248, 226)
    elif brush.street.dark:
        lamp = (255, 60, 50)
    for x in (-0.95, 0.68):
        brush.detail(_patch(body, x, x + 0.27, y, y + 0.16, 0.01), lamp, depth=z)
    brush.detail(_patch(body, -0.28, 0.28, low + 0.18, low + 0.31), (232, 230, 210), depth=z)
    brush.detail(_patch(body, -1, 1, low, low + 0.12), (44, 44, 48), depth=z)


def _draw_flank(
    brush: Brush, body: Body, profile: Profile, x: int, paint: Colour, glass: Colour, z: float
) -> None:
    """Draw the visible side, with its windows and wheels."""
    brush.fill([body(t, y, x) for t, y in profile], paint, depth=z, grain=0.03)
    (t0, roof), (t1, _) = sorted(sorted(profile, key=lambda p: -p[1])[:2])
    belt = min(profile[1][1], profile[-2][1]) + 0.14
    span, lean = t1 - t0, 0.05
    for a, b in ((0.0, 0.46), (0.52, 1.0)):
        low = [body(t0 + span * a - lean, belt, x), body(t0 + span * b + lean, belt, x)]
        high = [body(t0 + span * b, roof - 0.1, x), body(t0 + span * a, roof - 0.1, x)]
        brush.detail(low + high, glass, depth=z)
    angles = np.linspace(0, 2 * np.pi, 15)
    for middle in (0.19, 0.81):
        for radius, colour in ((0.34, (26, 26, 28)), (0.19, (150, 152, 156))):
            rim = [body(middle + radius / 4.3 * np.cos(a), 0.34 + radius * np.sin(a), x) for a in angles]
            brush.fill(rim, colour, depth=z)
