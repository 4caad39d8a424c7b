"""Preprocessing from a user's few facts, and the facts that contradict each other."""

from __future__ import annotations

import pytest

from segplug.errors import UsageError
from segplug.preprocessing import ChannelOrder, Decoding, Normalize, Pad, Resize
from segplug.undescribed import class_names, image_steps

COLOR, GRAY = Decoding(), Decoding(color="grayscale")
BANDS, UNCHANGED = Decoding(library="bands", color="unchanged"), Decoding(color="unchanged")


def test_the_order_of_the_steps():
    resize, pad = Resize(scale=(8, 6)), Pad(divisor=4)
    mean, std = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    decoding, steps = image_steps(3, mean=mean, std=std, resize=resize, pad=pad)
    assert decoding == COLOR
    assert steps == (resize, ChannelOrder((2, 1, 0)), Normalize(mean, std), pad)


@pytest.mark.parametrize(
    ("channels", "given", "decoding", "reordered"),
    [
        (1, {}, GRAY, False),
        (2, {}, BANDS, False),
        (3, {}, COLOR, True),
        (3, {"channel_order": "bgr"}, COLOR, False),
        (3, {"decoding": "unchanged"}, UNCHANGED, True),
        (3, {"decoding": "bands"}, BANDS, False),
        (13, {"decoding": "unchanged"}, UNCHANGED, False),
    ],
)
def test_decoding_and_colour_order(channels, given, decoding, reordered):
    found, steps = image_steps(channels, **given)
    assert found == decoding
    assert (ChannelOrder() in steps) == reordered
    assert steps[-1] == Normalize((0.0,) * channels, (1.0,) * channels)


def test_one_value_counts_for_all_channels():
    assert image_steps(4, mean=(7,), std=(1, 2, 3, 4))[1] == (Normalize((7.0,) * 4, (1.0, 2.0, 3.0, 4.0)),)


@pytest.mark.parametrize(
    ("channels", "given", "message"),
    [
        (4, {"mean": (1, 2, 3)}, "mean has 3 values, and the network takes 4 channels"),
        (1, {"std": (1, 2)}, "std has 2 values, and the network takes 1 channel "),
        (3, {"mean": ()}, "mean has 0 values"),
        (3, {"mean": (float("nan"), 0, 0)}, "mean takes finite numbers, not nan 0 0"),
        (3, {"std": (1, float("inf"), 1)}, "std takes finite numbers, not 1 inf 1"),
        (2, {"std": (1, 0)}, "std must be above 0"),
        (2, {"std": (1, -2)}, "std must be above 0"),
        (3, {"mean": (0.5,), "std": (0.2,)}, "mean=127.5,127.5,127.5 std=51,51,51"),
        (1, {"mean": (30000,), "std": (9000,)}, "a mean of 30000 is for wider pixels"),
        (4, {"channel_order": "rgb"}, "channel_order is for images whose colours are decoded"),
        (3, {"channel_order": "rgb", "decoding": "bands"}, "'bands' keeps the order of the file"),
        (4, {"decoding": "color"}, "takes 4 channels, and decoding 'color' gives 3 channels"),
        (3, {"decoding": "grayscale"}, "takes 3 channels, and decoding 'grayscale' gives 1 channel"),
    ],
)
def test_what_is_refused(channels, given, message):
    with pytest.raises(UsageError) as caught:
        image_steps(channels, **given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("decoding", ["unchanged", "bands"])
def test_images_of_other_types_may_have_any_range(decoding):
    for mean in (0.5, 30000.0):
        _, steps = image_steps(3, mean=(mean,), std=(0.2,), decoding=decoding)
        assert steps[-1] == Normalize((mean,) * 3, (0.2,) * 3)


def test_class_names(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("sky\nroad\n\n")
    assert class_names(("a", "b")) == ("a", "b")
    assert class_names(("2",)) == ("class 0", "class 1")
    assert class_names((str(file),)) == ("sky", "road")
    assert class_names(()) == ()
    for given, message in (
        (("0",), "1 to 65535, not 0"),
        (("1" * 12,), "1 to 65535"),
        (("a", "a"), "two classes have the name 'a'"),
        ((str(tmp_path / "none.txt"),), "cannot be read"),
    ):
        with pytest.raises(UsageError, match=message):
            class_names(given)
