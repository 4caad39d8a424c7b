"""Crops of the centre and padding on all sides, for any pixel type and number of channels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segplug.engine import Axis, EngineSpec
from segplug.model import ModelMeta
from segplug.preprocessing import Crop, Flip, Normalize, Pad, Resize, Scale, Step
from segplug.runtime.planes import resize_labels
from segplug.runtime.postprocess import NetworkOutput, Postprocessor, scores_at_image_size
from segplug.runtime.preprocess import Prepared, Preprocessor

TYPES = ("uint8", "uint16", "int16", "float32", "float64")


def _image(dtype: str, channels: int) -> np.ndarray:
    """21x30 pixels, with values over the whole range of an integer type."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0.3, 0.4, (21, 30, channels)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (21, 30, channels), dtype=dtype, endpoint=True)


def _run(image: np.ndarray, *steps: Step) -> Prepared:
    meta = ModelMeta("m", in_channels=image.shape[2], preprocessing=steps)
    return Preprocessor(meta)(image, "the image")


def _planes(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32).transpose(2, 0, 1)


def _numbers(channels: int, low: float, high: float, seed: int) -> tuple[float, ...]:
    return tuple(np.random.default_rng(seed).uniform(low, high, channels).tolist())


def _bordered(image: np.ndarray, top: int, bottom: int, left: int, right: int, value=0) -> np.ndarray:
    """OpenCV's border around an image, which may be negative: then edges are cut off."""
    image = image[max(-top, 0) : image.shape[0] - max(-bottom, 0)]
    image = image[:, max(-left, 0) : image.shape[1] - max(-right, 0)]
    edges = [max(edge, 0) for edge in (top, bottom, left, right)]
    values = value if isinstance(value, tuple) else (value,) * image.shape[2]
    planes = [
        cv2.copyMakeBorder(np.ascontiguousarray(plane), *edges, cv2.BORDER_CONSTANT, value=v)
        for plane, v in zip(image.transpose(2, 0, 1), values, strict=True)
    ]
    return np.stack(planes, axis=2)


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("size", "longer", "borders"),
    [
        ((15, 24), "end", (-3, -3, -3, -3)),
        ((16, 23), "end", (-2, -3, -3, -4)),
        ((24, 37), "end", (1, 2, 3, 4)),
        ((24, 37), "start", (2, 1, 4, 3)),
        ((12, 33), "start", (-4, -5, 2, 1)),
        ((28, 20), "end", (3, 4, -5, -5)),
        ((21, 30), "end", (0, 0, 0, 0)),
    ],
)
def test_the_centre_is_cut_out(dtype: str, channels: int, size, longer, borders) -> None:
    image, crop = _image(dtype, channels), Crop(size, longer=longer)
    normal = Normalize(_numbers(channels, 0, 1, 1), _numbers(channels, 0.5, 1, 2))
    expected = _bordered(image, *borders)
    assert expected.shape[:2] == size
    for before, after in (((), ()), ((), (normal,)), ((normal,), ()), ((Flip(),), (normal,))):
        found = _run(image, *before, crop, *after)
        given = _run(image, *before).array.transpose(1, 2, 0) if before else image
        by_hand = _run(_bordered(given, *borders), *after).array
        np.testing.assert_array_equal(found.array, by_hand)
        assert found.array.flags.c_contiguous
        geometry = found.geometry
        assert (geometry.original, geometry.valid, geometry.network) == ((21, 30), size, size)


def test_a_crop_after_padding_takes_it_for_the_image() -> None:
    image = _image("uint8", 3)
    found = _run(image, Pad(size=(32, 32), value=(7, 8, 9)), Crop((30, 10)), Pad(divisor=32))
    padded = _bordered(image, 0, 11, 0, 2, value=(7, 8, 9))
    cropped = _bordered(padded, -1, -1, -11, -11)
    np.testing.assert_array_equal(found.array, _planes(_bordered(cropped, 0, 2, 0, 22)))
    assert (found.geometry.valid, found.geometry.network) == ((30, 10), (32, 32))


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("dtype", TYPES)
def test_padding_on_all_sides(dtype: str, channels: int) -> None:
    image, value = _image(dtype, channels), _numbers(channels, 0, 9, 3)
    centred = Pad(divisor=16, value=value, cut=False, centred=True)
    plain = Pad(size=(40, 41), value=value[::-1])
    square = Pad(square=True, cut=False, centred=True)
    normal = Normalize(_numbers(channels, 0, 1, 1), _numbers(channels, 0.5, 1, 2))
    inner = (5, 6, 1, 1)  # 21x30 to 32x32
    rounded: tuple[float, ...] = tuple(np.rint(value).tolist()) if np.dtype(dtype).kind in "iu" else value

    def around(given: np.ndarray, borders, colours) -> np.ndarray:
        return _bordered(given, *borders, value=tuple(colours))

    normalised = _run(image, normal).array.transpose(1, 2, 0)
    once = around(image, inner, rounded)
    cases: list[tuple[tuple[Step, ...], np.ndarray]] = [
        ((centred,), once),
        ((centred, normal), _run(once, normal).array.transpose(1, 2, 0)),
        ((normal, centred), around(normalised, inner, value)),
        ((centred, plain), around(once, (0, 8, 0, 9), rounded[::-1])),
        ((plain, centred), around(around(image, (0, 19, 0, 11), rounded[::-1]), (4, 4, 3, 4), rounded)),
        ((normal, centred, plain), around(around(normalised, inner, value), (0, 8, 0, 9), value[::-1])),
        ((square,), _bordered(image, 4, 5, 0, 0)),
        ((normal, square), _bordered(normalised, 4, 5, 0, 0)),
    ]
    for steps, expected in cases:
        found = _run(image, *steps)
        np.testing.assert_array_equal(found.array, _planes(expected), err_msg=str(steps))
        cut = (32, 32) if plain in steps and steps[0] is not plain else found.geometry.network
        assert found.geometry.valid == cut, steps


def test_padding_on_all_sides_and_zeros_of_the_engine() -> None:
    """The zeros of an engine that takes multiples only are at the bottom and right, and cut off."""
    image = _image("uint8", 3)
    meta = ModelMeta("m", preprocessing=(Pad(size=(25, 35), value=(7, 8, 9), cut=False, centred=True),))
    spec = EngineSpec(meta, "logits", height=Axis(32, 64, 32), width=Axis(32, 64, 32))
    found = Preprocessor(meta, spec)(image, "a")
    expected = _bordered(_bordered(image, 2, 2, 2, 3, value=(7, 8, 9)), 0, 7, 0, 29)
    np.testing.assert_array_equal(found.array, _planes(expected))
    assert (found.geometry.valid, found.geometry.network) == ((25, 35), (32, 64))


@pytest.mark.parametrize(
    ("pad", "direction", "corner"),
    [
        (Pad(size=(32, 41), centred=True), "horizontal", (5, 6)),  # an odd number: one more changes sides
        (Pad(size=(32, 41), centred=True), "vertical", (6, 5)),
        (Pad(size=(32, 41)), "horizontal", (0, 11)),
        (Pad(size=(32, 41)), "vertical", (11, 0)),
    ],
)
def test_a_flip_after_padding_takes_the_padding_with_it(pad: Pad, direction, corner) -> None:
    image = _image("uint8", 3)
    found = _run(image, pad, Flip(direction))
    assert found.geometry.offset == corner
    labels = Postprocessor(ModelMeta("m", out_channels=3))(
        NetworkOutput(found.array[0].astype(np.uint8), found.geometry)
    ).labels
    np.testing.assert_array_equal(labels, image[:, :, 0])


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize(
    ("steps", "corner"),
    [
        ((Resize((32, 20)), Pad(size=(28, 40), centred=True)), (4, 4)),
        ((Pad(size=(32, 40), centred=True),), (5, 5)),
        ((Pad(size=(24, 36), centred=True),), (1, 3)),
        ((Pad(size=(29, 30), centred=True),), (4, 0)),
        ((Pad(size=(32, 40)), Pad(divisor=64, centred=True)), (16, 12)),
        ((Pad(size=(24, 34), cut=False, centred=True), Pad(divisor=64, centred=True)), (20, 15)),
    ],
)
def test_padding_on_all_sides_is_cut_from_the_output(steps, corner, stride: int) -> None:
    """What is left of labels, and of scores, is the part of the network's input where the image is."""
    image = _image("uint8", 3)
    found = _run(image, *steps)
    valid, (top, left) = found.geometry.valid, found.geometry.offset
    assert (top, left) == corner
    inside = np.ascontiguousarray(found.array[:, top : top + valid[0], left : left + valid[1]])
    if valid == (21, 30):
        np.testing.assert_array_equal(inside, _planes(image))
    labels = found.array[0].astype(np.uint8)
    meta = ModelMeta("m", out_channels=3, output_stride=stride)
    cut = Postprocessor(meta)(NetworkOutput(labels, found.geometry)).labels
    np.testing.assert_array_equal(cut, resize_labels(inside[0].astype(np.uint8), (21, 30)))
    small = found.array[:, ::stride, ::stride]
    scores = scores_at_image_size(NetworkOutput(small, found.geometry), meta)
    if any(edge % stride for edge in (*valid, top, left)):  # the image ends between two scores
        step, part = 1, np.stack([cv2.resize(plane, found.array.shape[:0:-1]) for plane in small])
    else:
        step, part = stride, small
    rows, columns = (
        slice(start // step, (start + edge) // step) for start, edge in zip((top, left), valid, strict=True)
    )
    cut_scores = part[:, rows, columns]
    by_hand = np.stack([cv2.resize(np.ascontiguousarray(plane), (30, 21)) for plane in cut_scores])
    np.testing.assert_allclose(scores, by_hand, atol=1e-3)


def test_a_stretched_image_is_not_cropped() -> None:
    """The answer covers the whole image, so the image is stretched whole."""
    image = _image("uint8", 3)
    meta = ModelMeta("m", preprocessing=(Resize((40, 40), "shortest"), Crop((32, 32)), Scale()))
    spec = EngineSpec(meta, "logits", height=Axis.fixed(16), width=Axis.fixed(24))
    found = Preprocessor(meta, spec)(image, "a")
    np.testing.assert_array_equal(found.array, _run(image, Resize((24, 16)), Scale()).array)
    assert found.geometry.valid == (16, 24)
    assert found.stretched_from == (32, 32)
