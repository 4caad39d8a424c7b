"""Test-time augmentation becomes views; the plain view is what runs without it."""

from __future__ import annotations

import pytest
from mmseg_support.pipelines import NORMALISE, augmented, read
from segplug_mmseg.compat import import_mmseg

from segplug.errors import ModelError
from segplug.preprocessing import Convert, Flip, Pad, Resize, find_steps

RESIZE, FLIP, PAD = {"type": "Resize"}, {"type": "RandomFlip"}, {"type": "Pad", "size_divisor": 8}


def described(steps) -> list:
    """Scale (or ratio) and flip of each view."""
    return [
        (find_steps(view, Resize)[0].scale or find_steps(view, Resize)[0].ratio, *find_steps(view, Flip))
        for view in steps
    ]


def test_scales_and_flips_in_mmsegs_order():
    result = read(augmented(RESIZE, FLIP, NORMALISE, img_scale=[(8, 6), (16, 12)], flip=True))
    mirrored = Flip("horizontal")
    assert described(result.tta) == [((8, 6),), ((8, 6), mirrored), ((16, 12),), ((16, 12), mirrored)]
    assert result.steps == result.tta[0]


def test_an_unflipped_view_counts_once_for_each_direction():
    directions = ["horizontal", "vertical"]
    result = read(augmented(RESIZE, FLIP, img_scale=(8, 6), flip=True, flip_direction=directions))
    assert described(result.tta) == [((8, 6),), ((8, 6),), *[((8, 6), Flip(name)) for name in directions]]


def test_the_flip_stands_where_random_flip_does():
    result = read(augmented(FLIP, RESIZE, PAD, img_scale=(8, 6), flip=True))
    assert result.tta[1] == (Flip("horizontal"), *result.steps)
    assert result.steps == (Resize((8, 6), fit="inside"), Pad(divisor=8))


def test_the_plain_view_has_ratio_one_or_is_the_first():
    ratios = [0.5, 1.0, 1.5]
    listed = read(augmented(RESIZE, img_scale=(64, 32), img_ratios=ratios))
    assert described(listed.tta) == [((32, 16),), ((64, 32),), ((96, 48),)]
    assert described([listed.steps]) == [((64, 32),)]
    assert described([read(augmented(RESIZE, img_scale=(64, 32), img_ratios=[0.5, 2.0])).steps]) == [
        ((32, 16),)
    ]
    of_the_image = read(augmented(RESIZE, img_scale=None, img_ratios=[0.5, 1.5]))
    assert described(of_the_image.tta) == [(0.5,), (1.5,)]
    assert described([of_the_image.steps]) == [(0.5,)]
    assert described([read(augmented(RESIZE, img_scale=[(9, 9), (8, 8)])).steps]) == [((9, 9),)]


def test_ratios_count_beside_one_scale_and_not_beside_a_list_of_one():
    """As mmseg has it: only a tuple is multiplied."""
    import_mmseg()
    from mmseg.datasets.pipelines import MultiScaleFlipAug

    for scale in ((300, 200), [(300, 200)]):
        own = MultiScaleFlipAug(transforms=[], img_scale=scale, img_ratios=[0.5]).img_scale
        result = read(augmented(RESIZE, img_scale=scale, img_ratios=[0.5]))
        assert described([result.steps]) == [tuple(own)]
        assert result.tta == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"img_scale": (8, 6)},
        {"img_scale": (8, 6), "flip_direction": ["horizontal", "vertical"]},
        {"img_scale": [(8, 6), (8, 6)]},
    ],
)
def test_views_that_are_all_the_plain_one_are_none(settings):
    assert read(augmented(RESIZE, FLIP, NORMALISE, **settings)).tta == ()


def test_every_view_starts_as_the_loader_does():
    loader = {"type": "LoadImageFromFile", "to_float32": True}
    result = read(augmented(RESIZE, FLIP, img_scale=(8, 6), flip=True), loader=loader)
    assert [view[0] for view in (result.steps, *result.tta)] == [Convert()] * 3


@pytest.mark.parametrize(
    ("transforms", "settings", "reason"),
    [
        ([RESIZE], {}, "flips images with no RandomFlip, but mmseg flips every output back"),
        ([RESIZE, FLIP, FLIP], {}, "flips images with 2 RandomFlip"),
        ([RESIZE, PAD, FLIP], {}, "has RandomFlip after Pad, which mmseg refuses"),
        (
            [RESIZE, FLIP],
            {"flip_direction": "diagonal"},
            "direction 'diagonal', which mmseg cannot flip",
        ),
        ([RESIZE, FLIP], {"flip_direction": ["vertical", "up"]}, "direction 'up'"),
    ],
)
def test_flips_that_mmseg_cannot_average(transforms, settings, reason):
    step = augmented(*transforms, img_scale=[(8, 6), (9, 9)], flip=True, **settings)
    with pytest.raises(ModelError, match=f"the test pipeline .*{reason}") as caught:
        read(step)
    assert "\n" not in str(caught.value)
    approximate = read(step, approximate=True)
    assert approximate.approximations == ("the flips are left out",)
    assert described(approximate.tta) == [((8, 6),), ((9, 9),)]


def test_what_cannot_be_expressed_is_noted_once_for_all_views():
    step = augmented(RESIZE, FLIP, {"type": "CLAHE"}, img_scale=[(8, 6), (9, 9)], flip=True)
    assert read(step, approximate=True).approximations == ("CLAHE is left out",)


def test_transforms_after_the_augmentation():
    step = augmented(RESIZE, img_scale=(8, 6))
    with pytest.raises(ModelError, match="has Normalize after MultiScaleFlipAug"):
        read(step, NORMALISE)
    with pytest.raises(ModelError, match="has MultiScaleFlipAug after MultiScaleFlipAug"):
        read(step, step)
    with pytest.raises(ModelError, match="has MultiScaleFlipAug, which"):
        read(augmented(step, img_scale=(8, 6)))
    assert read(step, {"type": "Collect", "keys": ["img"]}).steps == read(step).steps


@pytest.mark.parametrize(
    "settings", [{"img_ratios": []}, {"img_ratios": [0.0]}, {"img_scale": [], "flip": 1}]
)
def test_settings_that_cannot_be_read(settings):
    with pytest.raises(ModelError, match="test pipeline of the config cannot be read") as caught:
        read(augmented(RESIZE, **{"img_scale": None, **settings}))
    assert "\n" not in str(caught.value)
