"""The street's course and light, and the brush that draws an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .canvas import NEAR, Camera, Canvas, Colour, Point

Length = TypeVar("Length", float, npt.NDArray[np.float32])

PAINTS: tuple[Colour, ...] = (
    (176, 30, 34), (28, 48, 120), (228, 228, 226), (34, 36, 40), (140, 146, 152), (92, 98, 106),
    (26, 88, 70), (206, 168, 42), (66, 120, 176), (190, 182, 160),
)  # fmt: skip
"""Colours of cars and shop fronts."""


@dataclass(frozen=True)
class Street:
    """The course and the light of a street; lengths in metres."""

    camera: Camera
    half: float
    """Distance from the middle line to the kerb."""
    walk: float
    """Width of a sidewalk."""
    shift: float
    """``x`` of the middle line at the camera."""
    bend: float
    """The middle line moves by ``bend * z**2`` to the right."""
    sunny_side: int
    """The side whose walls are lit: -1 left, 1 right."""
    sun: float
    """How much darker a shadow is than the sunlit ground, 0 to 1."""
    dark: bool
    """Whether lamps and windows are lit."""

    def centre(self, z: Length) -> Length:
        """``x`` of the middle line at ``z``."""
        return self.shift + self.bend * z * z

    def point(self, across: float, y: float, z: float) -> Point:
        """The pixel of a point; ``across`` counts from the middle line."""
        z = max(z, NEAR)
        return self.camera.project(float(self.centre(z)) + across, y, z)

    def scale(self, z: float) -> float:
        """Pixels per metre at ``z``."""
        return self.camera.focal / max(z, NEAR)


@dataclass(frozen=True)
class Brush:
    """Draws one object on the canvas, with the object's label and random numbers of its own."""

    canvas: Canvas
    street: Street
    rng: np.random.Generator
    label: int

    def fill(self, points: Sequence[Point], colour: Colour, *, depth: float, grain: float = 0.0) -> None:
        """Draw a polygon of the object."""
        self.canvas.fill(points, colour, depth=depth, label=self.label, grain=grain)

    def detail(self, points: Sequence[Point], colour: Colour, *, depth: float) -> None:
        """Draw a polygon on the object, which changes no label."""
        self.canvas.fill(points, colour, depth=depth)

    def disc(
        self, centre: Point, radii: tuple[float, float], colour: Colour, *, depth: float, grain: float = 0.0
    ) -> None:
        """Draw an ellipse of the object; half axes in pixels."""
        self.canvas.disc(centre, radii, colour, depth=depth, label=self.label, grain=grain)

    def shadow(self, across: float, z: float, half: float, long: float) -> None:
        """Draw the shadow below an object that is ``2 * half`` wide and ``long`` deep."""
        angles = np.linspace(0, 2 * np.pi, 17)[:-1]
        outline = [
            self.street.point(across + half * 1.1 * np.cos(a), 0, z + long * (0.45 + 0.6 * np.sin(a)))
            for a in angles
        ]
        self.canvas.shade(outline, 0.25 + 0.4 * self.street.sun)

    def pick(self, colours: tuple[Colour, ...]) -> Colour:
        """Choose one of the colours, a little brighter or darker."""
        return times(colours[self.rng.integers(len(colours))], self.rng.uniform(0.9, 1.1))


def times(colour: Colour, factor: float) -> Colour:
    """A brighter or darker colour."""
    red, green, blue = (float(min(c * factor, 255.0)) for c in colour)
    return red, green, blue
