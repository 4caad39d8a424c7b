"""A pinhole camera, and a canvas with an image and its label map.

World coordinates are in metres: ``x`` to the right, ``y`` up from the ground, ``z`` away from the camera.
Everything is drawn at twice the final size. The image is then averaged down, which makes its edges soft as in
a photograph; the label map keeps one label for each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
"""RGB, 0 to 255."""
Point = tuple[float, float]
"""Column and row in pixels of the canvas."""

SUPERSAMPLING = 2
NEAR = 1.3
"""The smallest distance in metres that is projected."""


@dataclass(frozen=True)
class Camera:
    """A level camera that looks along the street, ``height`` metres above the ground."""

    focal: float
    centre: float
    """Column of the optical axis."""
    horizon: float
    """Row of the horizon."""
    height: float

    def project(self, x: float, y: float, z: float) -> Point:
        """The pixel of a point in the world."""
        depth = max(z, NEAR)
        return self.centre + self.focal * x / depth, self.horizon - self.focal * (y - self.height) / depth

    def ground(self, height: int, width: int) -> tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The first row below the horizon, and ``x`` and ``z`` of the ground for each pixel below it."""
        first = int(self.horizon) + 1
        rows = np.arange(first, height, dtype=np.float32)[:, None]
        columns = np.arange(width, dtype=np.float32)[None, :]
        z = np.broadcast_to(self.focal * self.height / (rows - self.horizon), (height - first, width))
        return first, ((columns - self.centre) * z / self.focal).astype(np.float32), z.astype(np.float32)


class Canvas:
    """An image (RGB) and its label map, which are drawn together, far objects first."""

    def __init__(
        self, height: int, width: int, rng: np.random.Generator, *, haze: Colour, sight: float
    ) -> None:
        self.height, self.width = height, width
        self.image = np.zeros((height, width, 3), np.uint8)
        self.labels = np.zeros((height, width), np.uint8)
        self._rng = rng
        self._haze, self._sight = np.asarray(haze, np.float32), sight
        self._grain = _noise(rng, height, width, ((1, 0.5), (4, 0.7), (24, 0.8)))

    def tint(
        self, colour: Colour | npt.NDArray[np.float32], depth: float | npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """``colour`` behind ``depth`` metres of haze."""
        clear = np.asarray(np.exp(-depth / self._sight), np.float32)
        return np.asarray(np.asarray(colour, np.float32) * clear + self._haze * (1 - clear), np.float32)

    def fill(
        self,
        points: Sequence[Point],
        colour: Colour,
        *,
        depth: float,
        label: int | None = None,
        grain: float = 0.0,
    ) -> None:
        """Paint a polygon, and its label unless that is ``None`` (a detail of the object below).

        ``grain`` is the strength of the texture: the standard deviation of the brightness, as a share.
        """
        outline = np.round(np.asarray(points, np.float32) * 8.0).astype(np.int64)
        outline = np.clip(outline, -(1 << 18), 1 << 18).astype(np.int32)
        tinted = self.tint(colour, depth)
        if grain > 0:
            self._fill_textured(outline, tinted, grain)
        else:
            cv2.fillPoly(self.image, [outline], tuple(float(c) for c in tinted), lineType=cv2.LINE_8, shift=3)
        if label is not None:
            cv2.fillPoly(self.labels, [outline], label, lineType=cv2.LINE_8, shift=3)

    def _fill_textured(
        self, outline: npt.NDArray[Any], colour: npt.NDArray[np.float32], grain: float
    ) -> None:
        left, top = np.maximum(outline.min(axis=0) // 8, 0)
        right = min(int(outline[:, 0].max()) // 8 + 2, self.width)
        bottom = min(int(outline[:, 1].max()) // 8 + 2, self.height)
        if right <= left or bottom <= top:
            return
        inside = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(inside, [outline - np.asarray((left * 8, top * 8), np.int32)], 1, shift=3)
        shade = 1.0 + grain * self._grain_patch(bottom - top, right - left)
        patch = np.clip(shade[:, :, None] * colour, 0, 255).astype(np.uint8)
        cv2.copyTo(patch, inside, self.image[top:bottom, left:right])

    def _grain_patch(self, height: int, width: int) -> npt.NDArray[np.float32]:
        row = int(self._rng.integers(0, self.height - height + 1))
        column = int(self._rng.integers(0, self.width - width + 1))
        return self._grain[row : row + height, column : column + width]

    def disc(
        self,
        centre: Point,
        radii: tuple[float, float],
        colour: Colour,
        *,
        depth: float,
        label: int | None = None,
        grain: float = 0.0,
    ) -> None:
        """Paint an ellipse with half axes ``radii`` in pixels; otherwise as :meth:`fill`."""
        angles = np.linspace(0, 2 * np.pi, 17)[:-1]
        outline = [(centre[0] + radii[0] * np.cos(a), centre[1] + radii[1] * np.sin(a)) for a in angles]
        self.fill(outline, colour, depth=depth, label=label, grain=grain)

    def shade(self, points: Sequence[Point], strength: float) -> None:
        """Darken a polygon, as a shadow does. Labels do not change."""
        outline = np.clip(np.round(np.asarray(points, np.float32)), -20000, 20000).astype(np.int32)
        left, top, width, height = cv2.boundingRect(outline)
        left, top, right, bottom = max(left, 0), max(top, 0), left + width, top + height
        patch = self.image[top:bottom, left:right]
        if patch.size == 0:
            return
        inside = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillPoly(inside, [outline - np.asarray((left, top), np.int32)], 255)
        soft = cv2.blur(inside, (9, 5)).astype(np.float32) * (strength / 255.0)
        patch[:] = (patch * (1.0 - soft[:, :, None])).astype(np.uint8)

    def downscale(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """The image, RGB, and its labels at their final size."""
        size = (self.width // SUPERSAMPLING, self.height // SUPERSAMPLING)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        labels = self.labels[::SUPERSAMPLING, ::SUPERSAMPLING]
        return np.asarray(image, np.uint8), np.ascontiguousarray(labels)


def _noise(
    rng: np.random.Generator, height: int, width: int, octaves: Sequence[tuple[int, float]]
) -> npt.NDArray[np.float32]:
    """Noise of zero mean and unit deviation; each octave is (size of its grains in pixels, weight)."""
    total = np.zeros((height, width), np.float32)
    for grain, weight in octaves:
        coarse = rng.standard_normal((height // grain + 2, width // grain + 2), dtype=np.float32)
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray((total - total.mean()) / total.std(), np.float32)
