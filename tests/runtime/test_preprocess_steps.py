"""Steps are executed one after the other in their order, for any pixel type and number of channels."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from segplug.engine import Axis, EngineSpec
from segplug.errors import DatasetError
from segplug.model import ModelMeta
from segplug.preprocessing import (
    ChannelOrder,
    Convert,
    Flip,
    Normalize,
    Pad,
    Resize,
    Scale,
    Step,
)
from segplug.runtime.pointwise import Tables
from segplug.runtime.preprocess import Prepared, Preprocessor

TYPES = ("uint8", "uint16", "int16", "float32", "float64")
CHANNELS = (1, 2, 3, 4, 5, 13, 130)


def _image(dtype: str, channels: int, size=(21, 30), seed: int = 0) -> np.ndarray:
    """Values over the whole range of an integer type; reflectances for floats."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0.3, 0.4, (*size, channels)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (*size, channels), dtype=dtype, endpoint=True)


def _run(image: np.ndarray, *steps: Step) -> Prepared:
    meta = ModelMeta("m", in_channels=image.shape[2], preprocessing=steps)
    return Preprocessor(meta)(image, "the image")


def _by_hand(image: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """The steps by the libraries that they name, one at a time; float32 ``(C, H, W)``."""
    for step in steps:
        image = _one_step(image, step)
        image = image.reshape(*image.shape[:2], -1)  # OpenCV drops a single channel
    return image.astype(np.float32).transpose(2, 0, 1)


def _one_step(image: np.ndarray, step: Step) -> np.ndarray:
    match step:
        case Convert(dtype=dtype):
            return image.astype(dtype)
        case ChannelOrder(order=order):
            return np.stack([image[:, :, channel] for channel in order], axis=2)
        case Flip(direction=direction):
            return np.flip(image, 1 if direction == "horizontal" else 0)
        case Scale(factor=factor, operation=operation, dtype=dtype):
            values = torch.from_numpy(image.astype(dtype))
            number = torch.tensor(factor, dtype=values.dtype)
            return (values * number if operation == "multiply" else values / number).float().numpy()
        case Normalize(mean=mean, std=std, arithmetic="division"):
            values = torch.from_numpy(image.astype(np.float32))
            return ((values - torch.tensor(mean)) / torch.tensor(std)).numpy()
        case Normalize(mean=mean, std=std):
            planes = image.astype(np.float32).transpose(2, 0, 1)
            means, stds = np.float64(np.float32(mean)), np.float64(np.float32(std))
            normal = [
                cv2.multiply(cv2.subtract(np.ascontiguousarray(plane), m), 1 / s)
                for plane, m, s in zip(planes, means, stds, strict=True)
            ]
            return np.stack(normal, axis=2)
        case Resize(scale=(width, height)):
            return cv2.resize(image, (width, height))
        case Pad(size=(height, width), value=value):
            bottom, right = height - image.shape[0], width - image.shape[1]
            edges = (0, bottom, 0, right, cv2.BORDER_CONSTANT)
            values = value or (0,) * image.shape[2]
            planes = [np.ascontiguousarray(plane) for plane in image.transpose(2, 0, 1)]
            return np.stack(
                [cv2.copyMakeBorder(p, *edges, value=v) for p, v in zip(planes, values, strict=True)], axis=2
            )
    raise AssertionError(step)


def _numbers(channels: int, low: float, high: float, seed: int) -> tuple[float, ...]:
    return tuple(np.random.default_rng(seed).uniform(low, high, channels).tolist())


def _sequences(channels: int, unit: float) -> dict[str, tuple[Step, ...]]:
    """Sequences of steps; ``unit`` is the scale of the pixels."""
    mean, std = _numbers(channels, -unit, unit, 1), _numbers(channels, unit / 5, unit, 2)
    colours = _numbers(channels, -0.5 * unit, 1.5 * unit, 3)
    turned = ChannelOrder(tuple(range(channels))[::-1])
    mixed = ChannelOrder(tuple(np.random.default_rng(4).permutation(channels).tolist()))
    normal, exact = Normalize(mean, std), Normalize(mean, std, arithmetic="division")
    pad, larger = Pad(size=(32, 40), value=colours), Pad(size=(50, 41), value=colours[::-1])
    return {
        "nothing": (),
        "normalised": (normal,),
        "normalised by division": (exact,),
        "padded, normalised": (pad, normal),
        "normalised, padded": (normal, pad),
        "only padded": (pad,),
        "padded, reordered": (pad, turned),
        "reordered, padded": (turned, pad),
        "padded twice": (normal, pad, larger),
        "padded, normalised, padded, reordered": (pad, exact, larger, mixed),
        "reordered twice": (mixed, turned, mixed),
        "reordered, normalised": (mixed, normal),
        "normalised, reordered": (normal, mixed),
        "normalised twice": (normal, turned, exact),
        "scaled, normalised": (Scale(), exact),
        "scaled twice": (
            Scale(3.0, dtype="float64"),
            Scale(0.37, "multiply"),
            Scale(7.0, "multiply", "float64"),
        ),
        "flipped": (Flip(), normal, Flip("vertical")),
        "padded, flipped": (pad, Flip(), normal, Flip(), larger),
        "converted": (Convert(), pad, turned),
        "scaled, padded": (Scale(), pad, Scale(2.0, "multiply")),
    }


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dtype", TYPES)
def test_sequences_are_executed_in_their_order(dtype: str, channels: int) -> None:
    image = _image(dtype, channels)
    kept = image.copy()
    unit = 1.0 if image.dtype.kind == "f" else float(np.iinfo(dtype).max)
    for name, steps in _sequences(channels, unit).items():
        found = _run(image, *steps).array
        expected = _by_hand(image, steps)
        assert found.dtype == np.float32, name
        assert found.flags.c_contiguous, name
        assert found.shape == expected.shape, name
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert np.array_equal(image, kept), "the image is not changed"


@pytest.mark.parametrize("dtype", TYPES)
def test_the_order_of_padding_and_normalisation_shows(dtype: str) -> None:
    image = _image(dtype, 3)
    pad, normal = Pad(size=(24, 32), value=(1, 2, 3)), Normalize((1, 2, 3), (4, 4, 4))
    before, after = _run(image, pad, normal).array, _run(image, normal, pad).array
    assert before[:, -1, -1].tolist() == [0, 0, 0]
    assert after[:, -1, -1].tolist() == [1, 2, 3]
    assert np.array_equal(before[:, :21, :30], after[:, :21, :30])


@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        ("uint8", [0, 2, 2, 4, 0, 255]),
        ("uint16", [0, 2, 2, 4, 0, 300]),
        ("int16", [0, 2, 2, 4, -8, 300]),
        ("float32", [0.5, 1.5, 2.5, 3.5, -7.5, 300]),
        ("float64", [0.5, 1.5, 2.5, 3.5, -7.5, 300]),
    ],
)
@pytest.mark.parametrize("other", [None, ChannelOrder(tuple(range(6))), Flip(), Resize((8, 8))])
def test_padding_has_the_type_of_the_image(dtype: str, written: list[float], other: Step | None) -> None:
    """As OpenCV writes it: half to even, cut to the range."""
    image, pad = np.zeros((8, 8, 6), dtype), Pad(divisor=16, value=(0.5, 1.5, 2.5, 3.5, -7.5, 300))
    steps = () if other is None else (other,)
    assert _run(image, *steps, pad).array[:, -1, -1].tolist() == written
    assert _run(image, *steps, pad, Pad(size=(20, 20))).array[:, 15, 15].tolist() == written
    assert _run(image, pad, ChannelOrder(tuple(range(6)))).array[:, -1, -1].tolist() == written


def test_padding_after_a_step_that_gives_floats_is_not_rounded() -> None:
    image, value = np.zeros((8, 8, 3), np.uint8), (0.5, -1.5, 300.25)
    for step in (Convert(), Scale(), Normalize((0,) * 3, (1,) * 3)):
        assert _run(image, step, Pad(divisor=16, value=value)).array[:, -1, -1].tolist() == list(value)


@pytest.mark.parametrize("channels", [1, 3, 5, 130])
def test_the_table_of_8_bit_images_equals_the_arithmetic(channels: int) -> None:
    """Every one of the 256 values, bit for bit, also where rounding of float32 shows."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), channels, axis=2)
    for seed in range(10):
        mean, std = _numbers(channels, -1, 300, seed), _numbers(channels, 1e-3, 300, seed + 100)
        order = ChannelOrder(tuple(np.random.default_rng(seed).permutation(channels).tolist()))
        for steps in (
            [Normalize(mean, std)],
            [order, Normalize(mean, std, arithmetic="division")],
            [Scale(255.0, dtype="float64"), order, Normalize(mean, std)],
        ):
            found = np.empty((channels, 16, 16), np.float32)
            Tables(steps, channels).look_up(ramp, found)
            np.testing.assert_array_equal(found, _by_hand(ramp, steps))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_the_type_of_a_scale_shows(dtype: str) -> None:
    """Else the tests above could not tell the two apart."""
    image = _image(dtype, 3)
    one, other = (_run(image, Scale(7.1, dtype=name)).array for name in ("float32", "float64"))
    assert 0 < (one != other).mean() < 1


def _geometry(size: tuple[int, int], *steps: Step) -> tuple[Any, ...]:
    geometry = _run(np.zeros((*size, 3), np.uint8), *steps).geometry
    return geometry.original, geometry.valid, geometry.network, geometry.flip


@pytest.mark.parametrize(
    ("steps", "valid", "network"),
    [
        ((), (20, 30), (20, 30)),
        ((Pad(divisor=32),), (20, 30), (32, 32)),
        ((Pad(divisor=32, cut=False),), (32, 32), (32, 32)),
        ((Pad(size=(25, 25)),), (20, 30), (25, 30)),
        ((Pad(size=(25, 25)), Pad(divisor=32)), (20, 30), (32, 32)),
        ((Pad(size=(25, 25)), Pad(divisor=32, cut=False)), (32, 32), (32, 32)),
        ((Pad(size=(25, 25), cut=False), Pad(divisor=32)), (25, 30), (32, 32)),
        ((Pad(square=True),), (20, 30), (30, 30)),
        ((Pad(square=True, divisor=16, cut=False),), (32, 32), (32, 32)),
        ((Resize(factors=(0.25, 0.25)),), (5, 8), (5, 8)),  # half up
        ((Resize(factors=(0.5, 2.0)),), (40, 15), (40, 15)),
        ((Resize(factors=(0.5, 2.0), fit="inside"),), (15, 23), (15, 23)),
        ((Resize((40, 40), "shortest", max_size=100),), (40, 60), (40, 60)),
        ((Resize((40, 40), "shortest", max_size=47),), (31, 47), (31, 47)),
        # a resize takes all of the image, padding included
        ((Pad(divisor=32), Resize((64, 64))), (64, 64), (64, 64)),
        ((Pad(divisor=32), Resize((64, 64)), Pad(size=(70, 70))), (64, 64), (70, 70)),
        ((Resize((33, 40)), Pad(divisor=32)), (40, 33), (64, 64)),
        ((Resize((33, 40)), Pad(divisor=32, cut=False)), (64, 64), (64, 64)),
        ((Normalize((0,) * 3, (1,) * 3), Scale(), Convert(), ChannelOrder()), (20, 30), (20, 30)),
    ],
)
def test_the_part_that_the_answer_is_cut_to(steps, valid, network) -> None:
    assert _geometry((20, 30), *steps) == ((20, 30), valid, network, None)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_a_flip_is_in_the_geometry(direction) -> None:
    steps = (Resize((64, 64)), Flip(direction), Pad(divisor=48))
    assert _geometry((20, 30), *steps) == ((20, 30), (64, 64), (96, 96), direction)


@pytest.mark.parametrize(("channels", "given"), [(3, 4), (4, 3), (1, 3), (3, 1), (5, 1000)])
def test_images_of_other_channels_are_refused(channels: int, given: int) -> None:
    prepare = Preprocessor(ModelMeta("m", in_channels=channels))
    number = "1 channel" if given == 1 else f"{given} channels"
    with pytest.raises(
        DatasetError, match=rf"^the image a\.png has {number}, the network takes {channels} \("
    ):
        prepare(np.zeros((4, 5, given), np.uint8), "a.png")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_named_with_its_place(dtype: str, value: float) -> None:
    image = np.zeros((6, 7, 4), dtype)
    image[2, 5, 3] = image[3, 0, 0] = value
    prepare = Preprocessor(ModelMeta("m", in_channels=4, preprocessing=(Normalize((0,) * 4, (1,) * 4),)))
    with pytest.raises(DatasetError) as raised:
        prepare(image, "a.npy")
    assert raised.value.message == f"the image a.npy holds {value} in channel 4, row 2, column 5"
    assert raised.value.hint == "replace it, or mark it as nodata in a GeoTIFF"


def test_a_value_that_float32_does_not_hold_is_one_line() -> None:
    image = np.zeros((4, 5, 3))
    image[1, 2, 0] = -1e39
    with pytest.raises(DatasetError, match=r"a\.npy holds 1e\+39, which is too large for float32"):
        Preprocessor(ModelMeta("m"))(image, "a.npy")


def test_an_image_of_undefined_values_takes_no_memory_for_their_places() -> None:
    """A server gets such images from anybody."""
    image = np.full((500, 500, 4), np.nan, np.float32)
    prepare = Preprocessor(ModelMeta("m", in_channels=4))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="channel 1, row 0, column 0"):
            prepare(image, "a.npy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < image.nbytes


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 5), np.uint8), r"uint8 \(4, 5\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"uint8 \(1, 4, 5, 3\)"),
        (np.zeros((4, 5, 3), np.bool_), r"bool \(4, 5, 3\)"),
        (np.zeros((4, 5, 3), np.complex64), r"complex64 \(4, 5, 3\)"),
        (np.zeros((4, 5, 3), "U1"), r"<U1 \(4, 5, 3\)"),
        (np.zeros((4, 5, 3), object), r"object \(4, 5, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray, said: str) -> None:
    with pytest.raises(DatasetError, match=rf"^the image a is {said}, not numbers \(H, W, C\)$"):
        Preprocessor(ModelMeta("m"))(image, "a")


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32", "int64", "float16"])
def test_other_numbers_are_taken_as_they_are(dtype: str) -> None:
    image = _image("int16", 3).astype(dtype)
    pad = Pad(size=(24, 32), value=(1.5, -3, 2.5))
    normal = Normalize((1, 2, 3), (4, 5, 6))
    assert np.array_equal(_run(image, normal).array, _by_hand(image, [normal]))
    value = [2, 0 if dtype == "uint32" else -3, 2] if image.dtype.kind in "iu" else [1.5, -3, 2.5]
    assert _run(image, pad).array[:, -1, -1].tolist() == value


def test_no_step_means_the_channels_as_they_are_decoded() -> None:
    image = _image("uint8", 3)
    assert np.array_equal(_run(image).array, image.transpose(2, 0, 1))


def test_a_view_has_its_own_steps() -> None:
    image, meta = _image("uint8", 3), ModelMeta("m", preprocessing=(Scale(),))
    view = (Flip(), Normalize((1, 2, 3), (4, 5, 6)))
    prepared = Preprocessor(meta, steps=view)(image, "a")
    assert np.array_equal(prepared.array, _by_hand(image, view))
    assert prepared.geometry.flip == "horizontal"


def test_a_stretched_image_is_converted_first_where_the_resize_needs_it() -> None:
    """Pillow resizes no 16-bit pixels, nor does OpenCV all types."""
    image = _image("uint16", 3)
    steps = (
        Convert(),
        Resize((64, 48), algorithm="pillow"),
        Pad(divisor=32),
        Normalize((1, 2, 3), (4, 5, 6)),
    )
    meta = ModelMeta("m", preprocessing=steps)
    spec = EngineSpec(meta, "logits", height=Axis.fixed(16), width=Axis.fixed(24))
    stretched = (steps[0], Resize((24, 16), algorithm="pillow"), steps[3])
    assert np.array_equal(Preprocessor(meta, spec)(image, "a").array, _run(image, *stretched).array)
