"""The sample image has the channels and the range that a model expects."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.model import ModelMeta
from segplug.preprocessing import ChannelOrder, Convert, Normalize, Pad, Resize, Scale, Step, usual_steps
from segplug.runtime.preprocess import Preprocessor
from segplug.verification.run import verification_images
from segplug.verification.sample import sample_for, sample_image

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13, 300])
def test_the_sample_is_a_picture_of_any_channels(channels: int) -> None:
    image = sample_image(60, 80, channels=channels)
    assert image.dtype == np.uint8
    assert image.shape == (60, 80, channels)
    assert np.array_equal(image, sample_image(60, 80, channels=channels))
    assert not np.array_equal(image, sample_image(60, 80, channels=channels, seed=1))
    deviation = image.reshape(-1, channels).std(axis=0)
    assert (deviation > 20).all()


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("steps", [(), (Scale(),), (Resize((9, 9)), Pad(divisor=8))])
def test_a_model_that_says_nothing_gets_a_photograph(channels: int, steps: tuple[Step, ...]) -> None:
    meta = ModelMeta("m", in_channels=channels, preprocessing=steps)
    assert np.array_equal(sample_for(meta, 30, 40), sample_image(30, 40, channels=channels))


@pytest.mark.parametrize("step", [Scale(65535.0), Scale(10000.0), Scale(1 / 4096, "multiply")])
def test_a_model_that_only_scales_gets_values_from_0_to_1(step: Scale) -> None:
    """Of a photograph's bytes the network would see nearly nothing but zeros."""
    meta = ModelMeta("m", in_channels=4, preprocessing=(step,))
    values = Preprocessor(meta)(sample_for(meta, 60, 80), "sample").array
    assert 0.3 < values.mean() < 0.6
    assert 0.1 < values.std() < 0.4


def test_a_model_of_photographs_gets_one() -> None:
    for order in ("rgb", "bgr"):
        meta = ModelMeta("m", preprocessing=usual_steps(MEAN, STD, channel_order=order))
        assert np.array_equal(sample_for(meta, 30, 40), sample_image(30, 40))


def _steps(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, tuple[Step, ...]]:
    order = (2, 0, 3, 1)
    normal = Normalize(tuple(mean[i] for i in order), tuple(std[i] for i in order))
    thousandth = Normalize(tuple(x / 1000 for x in mean), tuple(x / 1000 for x in std))
    twice = Normalize(tuple(x * 2 for x in normal.mean), tuple(x * 2 for x in normal.std))
    return {
        "normalised": (Normalize(mean, std),),
        "converted": (Convert(), Normalize(mean, std, arithmetic="division")),
        "reordered": (ChannelOrder(order), normal),
        "reordered twice": (ChannelOrder(order), ChannelOrder((3, 2, 1, 0)), _turned(normal)),
        "scaled": (Scale(1000.0), thousandth),
        "reordered, scaled": (ChannelOrder(order), Scale(2.0, "multiply"), twice),
        "normalised, scaled": (Normalize(mean, std), Scale(3.0)),
    }


def _turned(step: Normalize) -> Normalize:
    return Normalize(step.mean[::-1], step.std[::-1])


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.1, 0.2, 0.3, 0.4), (0.02, 0.05, 0.1, 0.2)),
        ((800.0, 1200.0, 5000.0, 20000.0), (300.0, 400.0, 2000.0, 9000.0)),
        ((-40.0, -10.0, 0.0, 3.0), (0.5, 3.0, 10.0, 20.0)),
    ],
)
def test_other_ranges_get_the_mean_and_the_deviation_that_they_expect(mean, std) -> None:
    for name, steps in _steps(mean, std).items():
        meta = ModelMeta("m", in_channels=4, preprocessing=steps)
        image = sample_for(meta, 60, 80)
        assert image.dtype == np.float32
        found = image.reshape(-1, 4)
        for channel in range(4):
            here = f"{name}, channel {channel}"
            assert abs(found[:, channel].mean() - mean[channel]) < std[channel], here
            assert 0.3 < found[:, channel].std() / std[channel] < 2, here
        values = Preprocessor(meta)(image, "sample").array
        assert np.abs(values.mean(axis=(1, 2))).max() < 1, name
        assert np.array_equal(image, sample_for(meta, 60, 80)), name


def test_deviations_of_floats_from_0_to_1_are_no_photograph() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    image = sample_for(ModelMeta("m", preprocessing=usual_steps(mean, std)), 60, 80)
    assert image.dtype == np.float32
    assert image.max() < 2
    scaled = ModelMeta("m", preprocessing=(Scale(255.0), *usual_steps(mean, std)))
    assert sample_for(scaled, 60, 80).dtype == np.uint8


def test_the_sample_is_not_resized_and_has_all_other_steps() -> None:
    pad, normal = Pad(divisor=32), Normalize((0.1,) * 5, (0.2,) * 5)
    steps = (Resize((500, 400)), normal, Resize(multiple_of=8), pad)
    meta = ModelMeta("m", in_channels=5, input_size=(48, 64), preprocessing=steps)
    for size, expected in ((None, (48, 64)), ((30, 40), (30, 40))):
        ((name, image, kept),) = verification_images((), meta, size)
        assert name == "sample"
        assert image.shape == (*expected, 5)
        assert kept == meta.replace(preprocessing=(normal, pad))
