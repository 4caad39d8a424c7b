"""A sample image, for comparisons and tracing when the user gives none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.preprocessing import ChannelOrder, Convert, Normalize, Scale, find_steps

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta

__all__ = ["sample_for", "sample_image"]

_MIDDLE, _SPREAD = 114.0, 57.0
"""Mean and standard deviation of an ordinary photograph, 0 to 255."""


def sample_image(height: int, width: int, *, channels: int = 3, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A synthetic picture that looks like a street, the same for the same arguments.

    Like a photograph, and unlike white noise, it has large smooth regions, edges at all angles, and detail at
    every scale (noise whose octaves get weaker).

    Returns:
        uint8 ``(height, width, channels)``; three channels are BGR.
    """
    picture: npt.NDArray[np.uint8] = np.clip(_street(height, width, channels, seed), 0, 255).astype(np.uint8)
    return picture


def sample_for(meta: ModelMeta, height: int, width: int) -> npt.NDArray[Any]:
    """The sample picture in the channels and the range that a model expects.

    Returns:
        ``(height, width, meta.in_channels)``: uint8 where the normalisation fits pixels from 0 to 255; else
        float32 with the mean and the standard deviation that the model expects of each channel.
    """
    mean, std = _expected(meta)
    if not find_steps(meta.preprocessing, Convert) and np.abs(mean).max() <= 255 and 1 <= std.min() < 256:
        return sample_image(height, width, channels=meta.in_channels)
    street = _street(height, width, meta.in_channels, seed=0)
    return (mean + (street - _MIDDLE) / _SPREAD * std).astype(np.float32)


def _expected(meta: ModelMeta) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The mean and the deviation of each channel of an image, in its own units.

    If no step says them, those of a photograph, whose largest value is the one that is scaled to 1.
    """
    order, factor = list(range(meta.in_channels)), 1.0
    for step in meta.preprocessing:
        if isinstance(step, ChannelOrder):
            order = [order[channel] for channel in step.order]
        elif isinstance(step, Scale):
            factor *= step.factor if step.operation == "multiply" else 1 / step.factor
        elif isinstance(step, Normalize):
            mean, std = np.empty(len(order)), np.empty(len(order))
            mean[order], std[order] = np.array(step.mean) / factor, np.array(step.std) / factor
            return mean, std
    largest = 1 / factor if find_steps(meta.preprocessing, Scale) else 255.0
    return np.full(len(order), _MIDDLE / 255 * largest), np.full(len(order), _SPREAD / 255 * largest)


def _street(height: int, width: int, channels: int, seed: int) -> npt.NDArray[np.float32]:
    """float32 ``(height, width, channels)``, mostly in 0 to 255."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / max(height - 1, 1), x / max(width - 1, 1)
    sky = np.resize(np.array([200, 150, 110], dtype=np.float32), channels)
    ground = np.resize(np.array([90, 95, 95], dtype=np.float32), channels)
    image = sky * (1 - y)[..., None] + ground * y[..., None]
    for _ in range(12):
        left, top = rng.uniform(-0.1, 0.9), rng.uniform(0.1, 0.8)
        lean = rng.uniform(-0.3, 0.3)
        inside = (x - left - lean * y > 0) & (x - left - lean * y < rng.uniform(0.05, 0.25))
        inside &= (y > top) & (y < top + rng.uniform(0.1, 0.5))
        image[inside] = rng.uniform(20, 235, channels) * 0.8 + image[inside] * 0.2
    image += _octaves(rng, height, width)[..., None]
    street: npt.NDArray[np.float32] = image.astype(np.float32)
    return street


def _octaves(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float32]:
    noise = np.zeros((height, width), dtype=np.float32)
    cell, strength = 64, 24.0
    while cell >= 1:
        grid = rng.normal(0, strength, (-(-height // cell), -(-width // cell))).astype(np.float32)
        noise += np.kron(grid, np.ones((cell, cell), dtype=np.float32))[:height, :width]
        cell, strength = cell // 4, strength * 0.6
    return noise
