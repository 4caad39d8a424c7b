"""The NumPy form of torchvision's resize of uint8 equals PyTorch's own in every value."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from segplug.runtime import torchvision_form

FILTERS = ["bilinear", "bicubic", "lanczos"]

fast = pytest.mark.skipif(
    "AVX" not in torch.backends.cpu.get_cpu_capability(),
    reason="PyTorch resizes uint8 in whole numbers on CPUs with AVX2 only",
)


def _by_torch(image: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    values = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    values = torch.nn.functional.interpolate(values, size, mode=mode, align_corners=False, antialias=True)
    found: np.ndarray = values[0].numpy().transpose(1, 2, 0)
    return found


def _picture(numbers: np.random.Generator, *shape: int) -> np.ndarray:
    image = numbers.integers(0, 256, shape, dtype=np.uint8)
    image[::3] = np.where(image[::3] > 127, 255, 0)  # extremes, where sums leave the range
    return image


@fast
@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_equals_torch_for_sizes_by_chance(filter_name: str, channels: int) -> None:
    numbers = np.random.default_rng(channels)
    for index in range(60):
        height, width, *new = numbers.integers(2, (12, 60, 300)[index % 3], 4).tolist()
        new[0] = height if index % 5 == 0 else new[0]
        new[1] = width if index % 7 == 0 else new[1]
        image = _picture(numbers, height, width, channels)
        np.testing.assert_array_equal(
            torchvision_form.resize(image, (new[0], new[1]), filter_name),
            _by_torch(image, (new[0], new[1]), filter_name),
            err_msg=f"{image.shape[:2]} to {new}",
        )


@fast
@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("old", [(2000, 30), (30, 2000), (1500, 1200)])
def test_large_reductions_are_exact(filter_name: str, old: tuple[int, int]) -> None:
    """Their weights have so many bits that sums are not exact in float32."""
    image = _picture(np.random.default_rng(1), *old, 3)
    image[: old[0] // 2] = 255
    found = torchvision_form.resize(image, (7, 9), filter_name)
    np.testing.assert_array_equal(found, _by_torch(image, (7, 9), filter_name))


@pytest.mark.parametrize("filter_name", FILTERS)
def test_one_colour_stays(filter_name: str) -> None:
    for value in (0, 1, 127, 254, 255):
        image = np.full((31, 500, 3), value, np.uint8)
        assert (torchvision_form.resize(image, (64, 33), filter_name) == value).all()


def test_memory_is_that_of_bytes() -> None:
    """No whole image of floats, which would take four or eight times as much."""
    image = np.zeros((3000, 2000, 3), np.uint8)
    torchvision_form.resize(image, (1500, 1000), "bilinear")
    tracemalloc.start()
    try:
        torchvision_form.resize(image, (1500, 1000), "bilinear")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * image.nbytes
