"""The steps of segplug that models of transformers need equal transformers' own functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers import image_processing_backends
from transformers.image_transforms import (
    center_crop,
    get_resize_output_image_size,
    get_size_with_aspect_ratio,
)
from transformers.image_utils import SizeDict, get_image_size_for_max_height_width
from transformers.models.dpt import image_processing_pil_dpt as dpt
from transformers_support.torchvision import functions

from segplug.model import ModelMeta
from segplug.preprocessing import Crop, Pad, Resize, Step
from segplug.runtime.preprocess import Preprocessor
from segplug.runtime.sizes import plan_sizes

Size = tuple[int, int]


def _size(size: Size, resize: Resize) -> Size:
    return plan_sizes([resize], size).geometry.network


def _cases(number: int = 3000) -> Iterator[tuple[Size, int, int]]:
    """Sizes of images, nearly square ones among them, and two numbers."""
    rng = np.random.default_rng(3)
    for index in range(number):
        height, width, first, second = rng.integers(1, (60, 500, 2200, 6000)[index % 4], 4).tolist()
        if index % 3 == 0:
            width = max(height + int(rng.integers(-3, 4)), 1)
        yield (height, width), first, second


def _possible(size: Any) -> Size:
    """No edge is 0; there transformers fails."""
    return max(size[0], 1), max(size[1], 1)


def test_the_short_edge() -> None:
    for size, short, _ in _cases():
        image = np.broadcast_to(np.uint8(0), (3, *size))
        expected = get_resize_output_image_size(image, short, False, input_data_format="channels_first")
        assert _size(size, Resize((short, short), "shortest", rounding="down")) == _possible(expected)


@pytest.mark.parametrize("divisor", [None, 32])
def test_the_short_edge_with_a_limit_of_the_long_one(divisor: int | None) -> None:
    limited = 0
    for size, *numbers in _cases():
        for short, most in (numbers, (800, 1333)):
            resize = Resize((short, short), "shortest", rounding="down", max_size=most, multiple_of=divisor)
            expected = _possible(get_size_with_aspect_ratio(size, short, most))
            if divisor is not None:
                expected = _possible([math.ceil(edge / divisor) * divisor for edge in expected])
            assert _size(size, resize) == expected, (size, short, most)
            limited += min(expected) < short
    assert limited > 1000


def test_the_limits_of_both_edges() -> None:
    for size, height, width in _cases():
        expected = _possible(get_image_size_for_max_height_width(size, height, width))
        assert _size(size, Resize((width, height), "inside", rounding="down")) == expected


@pytest.mark.parametrize("keep_ratio", [False, True])
def test_the_size_for_dpt(keep_ratio: bool) -> None:
    other = 0
    for size, height, width in _cases():
        for multiple in (1, 14, 32):
            image = np.broadcast_to(np.uint8(0), (3, *size))
            found = dpt.get_resize_output_image_size(image, (height, width), keep_ratio, multiple)
            expected = tuple(edge or multiple for edge in (found.height, found.width))
            fit = "closest" if keep_ratio else "exact"
            resize = Resize((width, height), fit, multiple_of=multiple, multiple="nearest")  # type: ignore[arg-type]
            assert _size(size, resize) == expected, (size, height, width, multiple)
            other += expected != (height, width)
    assert other > 1000


def _run(image: np.ndarray, step: Step) -> np.ndarray:
    return Preprocessor(ModelMeta("m", preprocessing=(step,)))(image, "a").array


def _images(number: int = 600) -> Iterator[tuple[np.ndarray, Size]]:
    rng = np.random.default_rng(4)
    for _ in range(number):
        height, width, *size = rng.integers(1, 20, 4).tolist()
        yield rng.integers(1, 255, (height, width, 3), dtype=np.uint8), (size[0], size[1])


def test_the_centre_of_the_pillow_processors() -> None:
    for image, size in _images():
        expected = center_crop(image.transpose(2, 0, 1), size, input_data_format="channels_first")
        assert np.array_equal(_run(image, Crop(size, longer="start")), expected), (image.shape, size)


def test_the_centre_of_the_torchvision_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_processing_backends, "tvF", functions(), raising=False)
    centre = image_processing_backends.TorchvisionBackend.center_crop
    for image, size in _images():
        planes = torch.from_numpy(image.transpose(2, 0, 1).copy())
        expected = centre(None, planes, SizeDict(height=size[0], width=size[1])).numpy()
        assert np.array_equal(_run(image, Crop(size)), expected), (image.shape, size)


@pytest.mark.parametrize("divisor", [1, 4, 7])
def test_the_padding_for_dpt(divisor: int) -> None:
    processor = dpt.DPTImageProcessorPil()
    for image, _ in _images(100):
        expected = processor.pad_image(image.transpose(2, 0, 1), divisor)
        assert np.array_equal(_run(image, Pad(divisor=divisor, cut=False, centred=True)), expected)
