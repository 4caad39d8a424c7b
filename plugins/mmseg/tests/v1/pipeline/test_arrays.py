"""The prepared arrays equal those of mmseg's own pipeline and data preprocessor in every bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mmseg_support.pipelines1 import PACK, assert_equal, image_of


def normalise(channels: int) -> dict[str, Any]:
    mean, std = np.linspace(10.3, 200.7, channels), np.linspace(3.1, 90.9, channels)
    return {
        "type": "Normalize",
        "mean": mean.tolist(),
        "std": std.tolist(),
        "to_rgb": channels in (1, 3, 4),  # those that mmcv takes
    }


def after(channels: int, **settings: Any) -> dict[str, Any]:
    normal = normalise(channels)
    numbers = {"mean": normal["mean"][::-1], "std": normal["std"]}
    return {"type": "SegDataPreProcessor", **numbers, "bgr_to_rgb": True, **settings}


def pad_value(channels: int, *, each: bool) -> Any:
    """A value for each channel, with halves, beyond a byte and below zero, or one: what mmcv takes."""
    if channels > 4:
        return {"img": 0.0}
    return {"img": (1.5, 2.5, 300.0, -7.5)[:channels] if each and channels > 1 else 7.5}


def orders(channels: int) -> Iterator[list[Any]]:
    """All orders of several groups of transforms, in which no Resize follows what notes a size."""
    inside = {"type": "Resize", "scale": (50, 30), "keep_ratio": True}
    exact = {"type": "Resize", "scale": (31, 22)}
    half = {"type": "Resize", "scale_factor": 0.55, "keep_ratio": True}
    two = {"type": "Resize", "scale_factor": (0.55, 1.7)}
    shortest = {"type": "ResizeShortestEdge", "scale": 31, "max_size": 45}
    multiple = {"type": "ResizeToMultiple", "size_divisor": 8}
    pad = {"type": "Pad", "size_divisor": 32, "pad_val": pad_value(channels, each=True)}
    wide = {"type": "Pad", "size": (40, 70), "pad_val": pad_value(channels, each=False)}
    square = {"type": "Pad", "pad_to_square": True, "size_divisor": 8, "pad_val": {"img": 0.0}}
    flip = {"type": "RandomFlip", "prob": 1.0, "direction": "vertical"}
    for group in (
        (inside, flip),
        (exact, two, flip),
        (half, shortest),
        (multiple, pad),
        (wide, pad, square),
    ):
        for order in itertools.permutations((normalise(channels), *group)):
            yield [*order, PACK]
    for first, last in itertools.product((inside, exact, two, half, shortest), (multiple, pad, wide, square)):
        yield [first, last, normalise(channels), PACK]


IMAGES = [
    (1, "uint8"),
    (2, "int16"),
    (3, "uint8"),
    (3, "float64"),
    (4, "uint16"),
    (5, "uint8"),
    (13, "float32"),
]
"""Each number of channels, and each type."""


@pytest.mark.parametrize(("channels", "dtype"), IMAGES)
def test_every_order(channels: int, dtype: str) -> None:
    image = image_of(channels, dtype)
    compared = 0
    for transforms in orders(channels):
        padded = after(channels, test_cfg={"size_divisor": 16}, pad_val=-3.5)
        # With a size of its own, the data preprocessor makes the one that a transform notes irrelevant.
        assert_equal(transforms, image, after=padded)
        if channels == 1:
            assert_equal(transforms, image, after=after(channels), flat=True)
        compared += 1
    assert compared == 3 * 6 + 2 * 24 + 20


@pytest.mark.parametrize(("channels", "dtype"), IMAGES)
def test_interpolations(channels: int, dtype: str) -> None:
    image, last = image_of(channels, dtype), after(channels)
    for name in ("nearest", "bilinear", "bicubic", "lanczos", "area"):
        for settings in ({"scale": (50, 30)}, {"scale_factor": 0.4, "keep_ratio": True}):
            if name == "area" and "scale_factor" in settings and channels > 4:
                continue  # OpenCV makes no smaller image of so many channels with it
            assert_equal([{"type": "Resize", "interpolation": name, **settings}, PACK], image, after=last)
        multiple = {"type": "ResizeToMultiple", "size_divisor": 50, "interpolation": name}
        assert_equal([multiple, PACK], image, after=last)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "box", "lanczos"])
@pytest.mark.parametrize("channels", [1, 3])
def test_interpolations_of_pillow(channels: int, name: str) -> None:
    for size, settings in itertools.product(
        ((23, 37), (64, 20)),
        ({"scale": (50, 30)}, {"scale_factor": 0.4, "keep_ratio": True}, {"scale": (37, 23)}),
    ):
        step = {"type": "Resize", "backend": "pillow", "interpolation": name, **settings}
        assert_equal(
            [step, PACK], image_of(channels, "uint8", size), after=after(channels), flat=channels == 1
        )


@pytest.mark.parametrize("seed", range(3))
def test_sizes(seed: int) -> None:
    """Every rounding rule, on images of many sizes."""
    random = np.random.default_rng(seed)
    for _ in range(60):
        size = tuple(map(int, random.integers(1, 90, 2)))
        image = np.zeros((*size, 1), np.uint8)
        scale = tuple(map(int, random.integers(8, 120, 2)))
        factors = tuple(map(float, random.uniform(0.55, 2.5, 2).round(2)))
        low, high = sorted(map(int, random.integers(12, 120, 2)))
        divisor = int(random.integers(1, 40))
        for steps in (
            [{"type": "Resize", "scale": scale, "keep_ratio": True}],
            [{"type": "Resize", "scale_factor": factors[0], "keep_ratio": True}],
            [{"type": "Resize", "scale_factor": factors, "keep_ratio": True}],
            [{"type": "Resize", "scale_factor": factors}],
            [{"type": "ResizeShortestEdge", "scale": low, "max_size": high}],
            [{"type": "ResizeShortestEdge", "scale": scale, "max_size": high}],
            [{"type": "ResizeToMultiple", "size_divisor": divisor}],
            [{"type": "Pad", "size_divisor": divisor}],
            [{"type": "Pad", "size": scale}],
            [{"type": "Pad", "pad_to_square": True}],
            [{"type": "Pad", "pad_to_square": True, "size_divisor": divisor}],
        ):
            if min(_size_of(steps[0], size)) > 0:  # mmcv fails with none
                assert_equal([*steps, PACK], image, flat=True)


def _size_of(step: dict[str, Any], size: tuple[int, ...]) -> tuple[int, ...]:
    """A size that the short edge at least gets, roughly."""
    if step["type"] == "Resize" and step.get("keep_ratio") and "scale" in step:
        factor = min(max(step["scale"]) / max(size), min(step["scale"]) / min(size))
        return tuple(int(edge * factor + 0.5) for edge in size)
    if step["type"] == "ResizeShortestEdge":
        factor = min(step["max_size"] / max(size), 1)
        return tuple(int(edge * factor) for edge in size)
    return size


FORMS: list[dict[str, Any]] = [
    {},
    {"bgr_to_rgb": False},
    {"bgr_to_rgb": False, "rgb_to_bgr": True},
    {"test_cfg": {"size": (40, 30)}, "pad_val": 0.1},  # larger in one edge, smaller in the other
    {"test_cfg": {"size": (40, 64)}, "pad_val": -1.7},
    {"test_cfg": {"size_divisor": 32}},
    {"test_cfg": {"size_divisor": 1}},
    {"test_cfg": {"size_divisor": 32, "size": None}, "pad_val": 7},
    {"size": (64, 64), "size_divisor": None, "seg_pad_val": 0},  # for the training
    {"size_divisor": 64},
]


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [*IMAGES, *((3, dtype) for dtype in ("uint16", "int8", "int16", "int32", "float32"))],
)
def test_data_preprocessors(channels: int, dtype: str) -> None:
    image = image_of(channels, dtype)
    for form in FORMS:
        for numbers in (
            {},
            {"mean": None, "std": None},
            {"mean": [7.7], "std": [1.3]},
            {"mean": [7], "std": [3]},
            {"mean": list(range(channels)), "std": [2] * channels},
            {"mean": [0.1], "std": [1e-3 * (channel + 1) for channel in range(channels)]},
        ):
            assert_equal([PACK], image, after=after(channels, **form, **numbers))
