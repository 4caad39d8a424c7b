"""The preset of torchvision's weights as steps: the network gets the same values, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from segplug_torchvision.preset import read_preset

from matrix.torchvision_models import NAMES
from matrix.torchvision_zoo import preprocess
from segplug import Segplug
from segplug.errors import ModelError
from segplug.palette import named_palette
from segplug.runtime.preprocess import Preprocessor

Image = npt.NDArray[Any]
LRASPP = "torchvision:lraspp_mobilenet_v3_large"
SIZES = ((97, 131), (64, 64), (301, 57), (33, 400), (480, 641), (65, 1300), (1, 9))
"""Of images, (height, width): odd, square, high, wide, large; and one row."""


def _pairs(
    sizes: Sequence[tuple[int, int]], expected: Callable[[Image], Image], **options: Any
) -> Iterator[tuple[Image, Image]]:
    """What the network gets here, and what it is expected to get, of images of each size."""
    model = Segplug().load_model(LRASPP, structure_only=True, **options)
    prepared = Preprocessor(model.meta)
    for size in sizes:
        image = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)  # noise hides no resize
        found = prepared(np.ascontiguousarray(image[:, :, ::-1]), "image").array
        wanted = expected(image)
        assert (found.dtype, found.shape) == (np.float32, wanted.shape)
        yield found, wanted


@pytest.mark.parametrize("edge", [64, 121])
def test_the_values_are_those_of_the_preset_for_images_of_pillow(edge: int) -> None:
    for found, wanted in _pairs(SIZES, lambda image: preprocess(image, edge)[0].numpy(), resize_size=edge):
        assert np.array_equal(found, wanted)


def test_without_an_option_the_short_edge_is_that_of_the_weights() -> None:
    for found, wanted in _pairs(((97, 131), (700, 1033)), lambda image: preprocess(image)[0].numpy()):
        assert np.array_equal(found, wanted)


def test_images_may_keep_their_own_size() -> None:
    sizes = ((97, 131), (130, 97))
    for found, wanted in _pairs(sizes, lambda image: preprocess(image, 97)[0].numpy(), resize_size=0):
        assert np.array_equal(found, wanted)


def test_the_values_are_those_of_the_second_version_of_the_transforms_for_tensors() -> None:
    """And up to one grey level apart from the preset, which computes tensors in another way."""
    from torchvision.transforms import v2

    transforms = v2.Compose(
        [
            v2.Resize(64),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    options = {"resize_size": 64, "resize_algorithm": "torchvision"}

    def second(image: Image) -> Image:
        return np.asarray(transforms(torch.from_numpy(image).permute(2, 0, 1)))

    for found, wanted in _pairs(SIZES, second, **options):
        assert np.abs(found - wanted).max() < 1e-6
    level = 1 / 255 / 0.224
    for found, wanted in _pairs(SIZES, lambda image: preprocess(image, 64, "tensor")[0].numpy(), **options):
        assert np.abs(found - wanted).max() < 1.01 * level


@pytest.mark.parametrize("name", NAMES)
def test_each_network_has_a_preset_with_the_classes_of_voc(name: str) -> None:
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    preset = read_preset(weights)
    assert preset.weights == f"{type(weights).__name__}.COCO_WITH_VOC_LABELS_V1"
    assert preset.categories == tuple(weights.meta["categories"])
    assert preset.palette == named_palette("pascal_voc", 21)
    beginning = weights.url[-12:-4]
    assert preset.is_file(beginning + 56 * "0")
    assert not preset.is_file(56 * "0" + beginning)


def test_classes_that_are_not_those_of_voc_have_no_palette() -> None:
    weights = _weights(categories=[f"thing {number}" for number in range(21)])
    assert read_preset(weights).palette == ()


@pytest.mark.parametrize("change", [{"antialias": False}, {"interpolation": "nearest"}, {"kind": "Other"}])
def test_transforms_that_are_not_known_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="none that segplug knows"):
        read_preset(_weights(**change))


def _weights(
    *,
    kind: str = "SemanticSegmentation",
    antialias: bool = True,
    interpolation: str = "bilinear",
    categories: Any = (),
) -> Any:
    """A stand-in for a member of torchvision's enumerations."""
    transforms = type(kind, (), {})()
    transforms.__dict__.update(
        resize_size=[520], antialias=antialias, interpolation=interpolation, mean=[0.5] * 3, std=[0.25] * 3
    )
    meta = {"categories": categories}
    return SimpleNamespace(url="models/x-01234567.pth", meta=meta, transforms=lambda: transforms)
