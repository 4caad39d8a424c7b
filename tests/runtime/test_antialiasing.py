"""The antialiased resize of scores is PyTorch's, and that of torchvision with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segplug.runtime.antialiasing import resize_antialiased
from segplug.runtime.planes import resize_plane


def _plane(*size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(size).astype(np.float32)


def _by_torch(plane: np.ndarray, size: tuple[int, int], *, antialias: bool = True) -> np.ndarray:
    batch = torch.from_numpy(plane)[None, None]
    return torch.nn.functional.interpolate(batch, size, mode="bilinear", antialias=antialias)[0, 0].numpy()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((384, 384), (97, 131)),
        ((384, 384), (480, 640)),
        ((384, 384), (500, 131)),
        ((348, 633), (600, 808)),
        ((160, 214), (160, 33)),
        ((3, 500), (1, 1)),
        ((1, 1), (5, 7)),
    ],
)
def test_it_is_torchs(old, new):
    plane = _plane(*old)
    found = resize_antialiased(plane, new)
    assert found.dtype == np.float32
    assert found.shape == new
    np.testing.assert_allclose(found, _by_torch(plane, new), rtol=0, atol=1e-6)


def test_random_sizes_are_torchs():
    rng = np.random.default_rng(1)
    for old, new in rng.integers(1, 400, (40, 2, 2)).tolist():
        plane = _plane(*old)
        np.testing.assert_allclose(
            resize_antialiased(plane, tuple(new)), _by_torch(plane, tuple(new)), rtol=0, atol=1e-6
        )


def test_it_differs_from_the_plain_resize_only_where_scores_shrink():
    plane = _plane(60, 80)
    plain = resize_plane(plane, (23, 31), align_corners=False)
    assert np.abs(resize_plane(plane, (23, 31), align_corners=False, antialias=True) - plain).max() > 0.5
    larger = resize_plane(plane, (90, 120), align_corners=False)
    np.testing.assert_allclose(resize_antialiased(plane, (90, 120)), larger, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(30, 20), (90, 110)])
def test_a_value_that_is_not_finite_stays_in_its_place(value, size):
    plane = _plane(60, 80)
    plane[59, 79] = value
    found = resize_antialiased(plane, size)
    lost = ~np.isfinite(found)
    assert lost[-1, -1]
    assert lost.sum() <= 4
    assert np.array_equal(lost, ~np.isfinite(_by_torch(plane, size)))
