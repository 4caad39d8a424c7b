"""Parse shapes from the command line, and plan profiles."""

from __future__ import annotations

import pytest
from segplug_tensorrt.profiles import Profile, engine_meta, parse_shapes, plan_profiles

from segplug.errors import UsageError
from segplug.model import InputLimits, ModelMeta

FREE = (-1, 3, -1, -1)
SMALL, LARGE = (1, 3, 32, 48), (4, 3, 64, 96)


@pytest.mark.parametrize(
    ("words", "shapes"),
    [
        ((), ()),
        (("1", "3", "32", "48"), (SMALL,)),
        (("1x3x32x48", "4,3,64,96"), (SMALL, LARGE)),
        (("1", "3", "32", "48", "4", "3", "64", "96"), (SMALL, LARGE)),
    ],
)
def test_all_spellings_of_shapes(words, shapes):
    assert parse_shapes(words, "--min-shape", 3) == shapes


@pytest.mark.parametrize("words", [("32", "48"), ("1x3x32",), ("big",), ("0x3x32x48",), ("1", "1x3x32x48")])
def test_words_that_are_not_shapes(words):
    with pytest.raises(UsageError, match="--min-shape"):
        parse_shapes(words, "--min-shape", 3)


@pytest.mark.parametrize(
    ("channels", "word", "said"),
    [
        (1, "1x3x32x48", "images of 1 channel, and the second number of 1x3x32x48 is 3.*1x1x512x1024"),
        (4, "1x3x32x48", "images of 4 channels, and the second number of 1x3x32x48 is 3.*1x4x512x1024"),
        (13, "1x32x48x13", "images of 13 channels, and the second number of 1x32x48x13 is 32"),
    ],
)
def test_shapes_of_other_channels(channels, word, said):
    with pytest.raises(UsageError, match=f"^--max-shape: the network takes {said}"):
        parse_shapes((word,), "--max-shape", channels)
    ours = f"1x{channels}x32x48"
    assert parse_shapes((ours,), "--max-shape", channels) == ((1, channels, 32, 48),)


def planned(*shapes, network=FREE, size=(32, 48), limits=None):
    return plan_profiles(network, *shapes, size=size, limits=limits)


def test_the_default_is_one_image_of_the_models_size():
    assert planned((), (), ()) == (Profile(SMALL, SMALL, SMALL),)
    fixed = (2, 3, 32, 48)
    assert planned((), (), (), network=fixed, size=None) == (Profile(fixed, fixed, fixed),)


def test_missing_shapes_are_derived():
    assert planned([SMALL], (), [LARGE]) == (Profile(SMALL, LARGE, LARGE),)
    assert planned((), [SMALL], ()) == (Profile(SMALL, SMALL, SMALL),)


def test_several_profiles():
    assert len(planned([SMALL, SMALL], (), [SMALL, LARGE])) == 2
    with pytest.raises(UsageError, match="different numbers"):
        planned([SMALL, SMALL], (), [LARGE])


@pytest.mark.parametrize(
    ("shapes", "network", "said"),
    [
        (([LARGE], (), [SMALL]), FREE, "from small to large"),
        (([(1, 4, 32, 48)], (), ()), FREE, "takes inputs of -1x3x-1x-1"),
        (([(1, 3, 32, 48)], (), ()), (-1, 4, -1, -1), "takes inputs of -1x4x-1x-1"),
        (((), (), [LARGE]), (1, 3, 32, 48), "takes inputs of 1x3x32x48"),
    ],
)
def test_profiles_that_do_not_fit(shapes, network, said):
    with pytest.raises(UsageError, match=said):
        planned(*shapes, network=network)


def test_the_networks_own_limits(limits):
    with pytest.raises(UsageError, match="multiples of 16"):
        planned((), (), [(1, 3, 40, 48)], limits=limits)


def test_a_file_of_any_size_needs_shapes():
    with pytest.raises(UsageError, match="give --min-shape"):
        planned((), (), (), size=None)


def test_an_engine_of_one_size_says_that_size_and_no_limits():
    meta = ModelMeta(name="m", classes=("a", "b"), out_channels=2, input_size=(360, 480))
    limits = InputLimits((32, 32), 32)
    one = Profile((1, 3, 64, 96), (2, 3, 64, 96), (4, 3, 64, 96))
    made = engine_meta(meta, [one], limits)
    assert (made.input_size, made.input_limits) == ((64, 96), None)
    made = engine_meta(meta, [one, Profile((1, 3, 32, 32), (1, 3, 64, 96), (1, 3, 64, 96))], limits)
    assert (made.input_size, made.input_limits) == ((360, 480), limits)
