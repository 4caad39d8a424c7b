"""The prepared arrays equal those of mmseg's own pipeline in every bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from mmseg_support.pipelines import augmented, read
from segplug_mmseg.compat import import_mmseg

from segplug.model import ModelMeta
from segplug.runtime.preprocess import Preprocessor

CHANNELS = (1, 2, 3, 4, 5, 13)
TYPES = ("uint8", "uint16", "int16", "float32", "float64")
OWN = {"type": "OwnLoader"}  # not in mmseg: the images are made here
PACK = {"type": "DefaultFormatBundle"}

View = tuple[npt.NDArray[Any], tuple[int, int], str | None]
"""The network's input, the size that its output is cut to, and how it is mirrored."""


def image_of(channels: int, dtype: str, size: tuple[int, int] = (23, 37)) -> npt.NDArray[Any]:
    """The whole range of the type; a little beyond that of a byte for floats."""
    random = np.random.default_rng(channels)
    shape = (*size, channels)
    if dtype.startswith("float"):
        return (random.random(shape) * 300 - 20).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def theirs(transforms: list[Any], image: npt.NDArray[Any]) -> list[View]:
    import_mmseg()
    from mmseg.datasets.pipelines import Compose

    results = Compose(transforms)({"img": image, "img_shape": image.shape})
    if not isinstance(results["img"], list):
        results = {key: [value] for key, value in results.items()}
    flips = results.get("flip", [False])
    directions = results.get("flip_direction", [None])
    return [
        (array.data.numpy().astype(np.float32), shape[:2], direction if flip else None)
        for array, shape, flip, direction in zip(
            results["img"], results["img_shape"], flips, directions, strict=True
        )
    ]


def ours(transforms: list[Any], image: npt.NDArray[Any]) -> list[View]:
    channels = image.shape[2]
    pipeline = read(*transforms, loader=OWN, network=channels)
    meta = ModelMeta(name="m", in_channels=channels, preprocessing=pipeline.steps, tta=pipeline.tta)
    assert ModelMeta.from_json(meta.to_json()) == meta
    prepared = [Preprocessor(meta, steps=view)(image, "made up") for view in meta.tta or [meta.preprocessing]]
    return [(item.array, item.geometry.valid, item.geometry.flip) for item in prepared]


def assert_equal(transforms: list[Any], image: npt.NDArray[Any], *, flat: bool = False) -> None:
    """Compare. ``flat``: mmseg gets a grey image as ``(H, W)``, as its own loader gives it."""
    expected = theirs(transforms, (image[:, :, 0] if flat else image).copy())
    found = ours(transforms, image)
    what = [image.dtype.name, image.shape, *transforms]
    assert len(found) == len(expected), what
    for (array, size, flip), (other, other_size, other_flip) in zip(found, expected, strict=True):
        assert (size, flip) == (other_size, other_flip), what
        assert array.shape == other.shape, what
        assert np.array_equal(array, other), what


def normalise(channels: int) -> dict[str, Any]:
    mean, std = np.linspace(10.3, 200.7, channels), np.linspace(3.1, 90.9, channels)
    return {
        "type": "Normalize",
        "mean": mean.tolist(),
        "std": std.tolist(),
        "to_rgb": channels in (1, 3, 4),  # those that mmcv takes
    }


def pad_value(channels: int, *, each: bool) -> Any:
    """A value for each channel, with halves, beyond a byte and below zero, or one: what mmcv takes."""
    if channels > 4:
        return 0
    return (1.5, 2.5, 300.0, -7.5)[:channels] if each and channels > 1 else 7.5


def orders(channels: int) -> Iterator[list[Any]]:
    """All orders of several groups of transforms."""
    inside = {"type": "Resize", "img_scale": (50, 30)}
    exact = {"type": "Resize", "img_scale": (31, 22), "keep_ratio": False}
    least = {"type": "Resize", "img_scale": (50, 20), "min_size": 29}
    half = {"type": "Resize", "ratio_range": (0.55, 0.55)}
    multiple = {"type": "ResizeToMultiple", "size_divisor": 8}
    pad = {"type": "Pad", "size_divisor": 32, "pad_val": pad_value(channels, each=True)}
    wide = {"type": "Pad", "size": (40, 70), "pad_val": pad_value(channels, each=False)}
    flip = {"type": "RandomFlip", "prob": 1.0, "direction": "vertical"}
    groups = [
        (inside, pad),
        (exact, wide),
        (multiple, pad),
        (inside, multiple),
        (wide, multiple),
        (exact, pad, wide),
        (least, wide),
        (half, pad),
        (half, flip),
        (inside, exact, pad),  # mmseg's second Resize takes the scale of the first
        (normalise(channels), inside),
    ]
    for group in groups:
        for order in itertools.permutations((normalise(channels), *group)):
            yield [*order, PACK]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_order(channels, dtype):
    image = image_of(channels, dtype)
    compared = 0
    for transforms in orders(channels):
        assert_equal(transforms, image)
        if channels == 1:
            assert_equal(transforms, image, flat=True)
        compared += 1
    assert compared == 9 * 6 + 2 * 24


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_interpolations(channels, dtype):
    for name, divisor in itertools.product(("nearest", "bilinear", "bicubic", "lanczos", "area"), (8, 50)):
        multiple = {"type": "ResizeToMultiple", "size_divisor": divisor, "interpolation": name}
        assert_equal([multiple, normalise(channels), PACK], image_of(channels, dtype))


@pytest.mark.parametrize("size", [(1, 2), (1, 9), (9, 1), (7, 64), (128, 3), (50, 30)])
def test_sizes(size):
    resize, pad = {"type": "Resize", "img_scale": (50, 30), "min_size": 8}, {"type": "Pad", "size": (8, 8)}
    for channels, dtype in itertools.product((1, 3, 5), ("uint8", "uint16", "float32")):
        image = image_of(channels, dtype, size)
        for transforms in itertools.permutations((resize, normalise(channels), pad)):
            assert_equal([*transforms, PACK], image)


def test_one_mean_and_deviation_for_all_channels():
    for channels in CHANNELS:
        step = {"type": "Normalize", "mean": [7.7], "std": [1.3], "to_rgb": False}
        assert_equal([step, PACK], image_of(channels, "uint16"))
        assert_equal([step | {"std": normalise(channels)["std"]}, PACK], image_of(channels, "uint16"))


AUGMENTATIONS: list[dict[str, Any]] = [
    {"img_scale": [(50, 30), (64, 64)], "flip": True},
    {"img_scale": (50, 30), "img_ratios": [0.5, 1.0, 1.75], "flip": True, "flip_direction": "vertical"},
    {"img_scale": None, "img_ratios": [0.4, 1.3], "flip": True, "flip_direction": ["horizontal", "vertical"]},
    {"img_scale": [(50, 30), (64, 64)], "flip": False},
    {"img_scale": (50, 30), "flip": True},
]


@pytest.mark.parametrize("settings", AUGMENTATIONS)
@pytest.mark.parametrize("keep_ratio", [True, False])
def test_views_are_mmsegs_in_its_order(settings, keep_ratio):
    resize, flip = {"type": "Resize", "keep_ratio": keep_ratio}, {"type": "RandomFlip"}
    for channels, dtype in itertools.product((1, 3, 4), ("uint8", "uint16", "float64")):
        pad = {"type": "Pad", "size_divisor": 32, "pad_val": pad_value(channels, each=True)}
        norm = normalise(channels)
        for inner in (
            [resize, flip, norm, pad],
            [flip, resize, pad, norm],
            [norm, resize, flip, {"type": "ResizeToMultiple"}, pad],
        ):
            assert_equal([augmented(*inner, PACK, **settings)], image_of(channels, dtype))


def test_transforms_before_the_augmentation():
    before = [{"type": "ResizeToMultiple", "size_divisor": 20}, {"type": "Pad", "size": (45, 45)}]
    views = augmented(
        {"type": "Resize"}, {"type": "RandomFlip"}, PACK, img_scale=None, img_ratios=[0.5, 1.5], flip=True
    )
    for order in itertools.permutations((normalise(3), *before)):
        assert_equal([*order, views], image_of(3, "uint8"))
