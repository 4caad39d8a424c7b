"""The NumPy form of Pillow's resize equals Pillow's own in every value."""

from __future__ import annotations

import numpy as np
import PIL
import pytest
from PIL import Image

from segplug.runtime import pillow_form

FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

# (height, width) before and after.
WIDTH_FIRST = {
    "both larger": ((23, 31), (57, 90)),
    "both smaller": ((61, 83), (37, 29)),
    "narrower and taller": ((20, 71), (53, 33)),
    "rows fewer by twice the columns": ((67, 50), (47, 40)),
    "rows larger, columns smaller by more": ((40, 90), (41, 7)),
    "same height": ((33, 47), (33, 20)),
    "one row": ((1, 45), (9, 22)),
    "to one column": ((45, 19), (31, 1)),
    "wide": ((3, 401), (5, 77)),
}
HEIGHT_FIRST = {
    "wider and flatter": ((71, 20), (33, 53)),
    "rows fewer by twice the columns and one": ((68, 50), (47, 40)),
    "one row fewer, wider": ((40, 30), (39, 31)),
    "same width": ((47, 33), (20, 33)),
    "one column": ((45, 1), (22, 9)),
    "to one pixel": ((45, 9), (1, 1)),
    "tall": ((401, 5), (77, 3)),
}

older = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="the form follows Pillow 13, which chose a new order"
)
CASES = [
    *(pytest.param(*sizes, id=name) for name, sizes in WIDTH_FIRST.items()),
    *(pytest.param(*sizes, id=name, marks=older) for name, sizes in HEIGHT_FIRST.items()),
]


def _by_pillow(image, size, filter_name):
    resample = Image.Resampling[filter_name.upper()]
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in image.transpose(2, 0, 1)]
    return np.stack([np.asarray(plane.resize(size[::-1], resample)) for plane in planes], axis=2)


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize(("old", "new"), CASES)
def test_equals_pillow(old, new, filter_name):
    numbers = np.random.default_rng(7)
    image = numbers.integers(0, 256, (*old, 3), dtype=np.uint8)
    image[::3] = np.where(image[::3] > 127, 255, 0)  # extremes, where sums leave the range

    found = pillow_form.resize(image, new, filter_name)

    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, _by_pillow(image, new, filter_name))
    resample = Image.Resampling[filter_name.upper()]
    np.testing.assert_array_equal(found, np.asarray(Image.fromarray(image).resize(new[::-1], resample)))

    floats = numbers.normal(0, 1e3, (*old, 2)).astype(np.float32)
    found = pillow_form.resize(floats, new, filter_name)

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, _by_pillow(floats, new, filter_name))


@older
@pytest.mark.parametrize("filter_name", FILTERS)
def test_equals_pillow_for_sizes_by_chance(filter_name):
    numbers = np.random.default_rng(11)
    for _ in range(40):
        height, width, new_height, new_width = numbers.integers(1, 60, 4).tolist()
        image = numbers.integers(0, 256, (height, width, 1), dtype=np.uint8)
        new = new_height, new_width
        np.testing.assert_array_equal(
            pillow_form.resize(image, new, filter_name),
            _by_pillow(image, new, filter_name),
            err_msg=f"{image.shape[:2]} to {new}",
        )


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_channels_do_not_mix(channels):
    image = np.random.default_rng(5).integers(0, 256, (21, 34, channels), dtype=np.uint8)
    found = pillow_form.resize(image, (30, 17), "bicubic")
    np.testing.assert_array_equal(found, _by_pillow(image, (30, 17), "bicubic"))
    assert found.flags.c_contiguous
