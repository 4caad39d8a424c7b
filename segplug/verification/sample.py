"""A sample image, for comparisons and tracing when the user gives none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["sample_image"]


def sample_image(height: int, width: int, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A synthetic picture that looks like a street, the same for the same arguments.

    Like a photograph, and unlike white noise, it has large smooth regions, edges at all angles, and detail at
    every scale (noise whose octaves get weaker).

    Returns:
        uint8 ``(height, width, 3)``, BGR.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / max(height - 1, 1), x / max(width - 1, 1)
    sky = np.array([200, 150, 110], dtype=np.float32)
    ground = np.array([90, 95, 95], dtype=np.float32)
    image = sky * (1 - y)[..., None] + ground * y[..., None]
    for _ in range(12):
        left, top = rng.uniform(-0.1, 0.9), rng.uniform(0.1, 0.8)
        lean = rng.uniform(-0.3, 0.3)
        inside = (x - left - lean * y > 0) & (x - left - lean * y < rng.uniform(0.05, 0.25))
        inside &= (y > top) & (y < top + rng.uniform(0.1, 0.5))
        image[inside] = rng.uniform(20, 235, 3) * 0.8 + image[inside] * 0.2
    image += _octaves(rng, height, width)[..., None]
    result: npt.NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return result


def _octaves(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float32]:
    noise = np.zeros((height, width), dtype=np.float32)
    cell, strength = 64, 24.0
    while cell >= 1:
        grid = rng.normal(0, strength, (-(-height // cell), -(-width // cell))).astype(np.float32)
        noise += np.kron(grid, np.ones((cell, cell), dtype=np.float32))[:height, :width]
        cell, strength = cell // 4, strength * 0.6
    return noise
