"""Transforms become steps, in the order of the config; what cannot be expressed is an error."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
from mmseg_support.pipelines import NORMALISE, augmented, read, steps_of
from segplug_mmseg.v0.pipeline import read_pipeline

from segplug.errors import ModelError
from segplug.model import ModelMeta
from segplug.preprocessing import ChannelOrder, Convert, Decoding, Flip, Normalize, Pad, Resize
from segplug.progress import QuietReporter
from segplug.runtime.preprocess import Preprocessor

NORMALISED = (ChannelOrder((2, 1, 0)), Normalize((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
RESIZE = {"type": "Resize"}


def test_the_order_of_the_config_is_kept():
    pad = {"type": "Pad", "size_divisor": 8}
    resize = {"type": "Resize", "img_scale": (8, 8)}
    inside = Resize(scale=(8, 8), fit="inside")
    assert steps_of(pad, NORMALISE, resize) == (Pad(divisor=8), *NORMALISED, inside)
    assert steps_of(resize, NORMALISE, pad) == (inside, *NORMALISED, Pad(divisor=8))
    twice = steps_of({**NORMALISE, "to_rgb": False, "std": 2.0}, NORMALISE)
    assert twice == (Normalize((1.0, 2.0, 3.0), (2.0,) * 3), *NORMALISED)
    assert steps_of() == ()


def test_resize_forms():
    assert steps_of(augmented(RESIZE, img_scale=(64, 32))) == (Resize((64, 32), fit="inside"),)
    exact = augmented({**RESIZE, "keep_ratio": False}, img_scale=(64, 32), img_ratios=[0.5])
    assert (steps_of(exact), read(exact).nominal_size) == ((Resize((32, 16)),), (16, 32))
    from_image = read(augmented(RESIZE, img_scale=None, img_ratios=[0.75]))
    assert (from_image.steps, from_image.nominal_size) == ((Resize(fit="inside", ratio=0.75),), None)
    minimum = augmented({**RESIZE, "min_size": 40}, img_scale=(64, 32))
    assert steps_of(minimum) == (Resize((64, 32), fit="inside", min_size=40),)
    unused = augmented({**RESIZE, "min_size": 40, "keep_ratio": False}, img_scale=(64, 32))
    assert steps_of(unused) == (Resize((64, 32)),)
    multiple = read(augmented(RESIZE, {"type": "ResizeToMultiple"}, img_scale=(65, 32)))
    assert multiple.steps == (Resize((65, 32), fit="inside"), Resize(multiple_of=32))
    assert multiple.nominal_size == (32, 96)
    nearest = {"type": "ResizeToMultiple", "size_divisor": (16, 16), "interpolation": "nearest"}
    assert steps_of(nearest) == (Resize(multiple_of=16, filter="nearest"),)
    plain = {"type": "Resize", "img_scale": (64, 32), "ratio_range": (0.5, 0.5)}
    assert steps_of(plain) == (Resize((32, 16), fit="inside"),)
    as_in_json = augmented(RESIZE, img_scale=[64, 32])
    assert steps_of(as_in_json) == (Resize((64, 32), fit="inside"),)


def test_a_second_resize_takes_the_scale_of_the_first():
    """mmseg keeps it in the dict that goes through the transforms."""
    first, second = {"type": "Resize", "img_scale": (64, 32)}, {"type": "Resize", "img_scale": (9, 9)}
    assert steps_of(first, second) == (Resize((64, 32), fit="inside"),) * 2
    assert steps_of(first, augmented(second, img_scale=(8, 8)))[1] == Resize((8, 8), fit="inside")
    with pytest.raises(ModelError, match="a second Resize, whose scale depends"):
        steps_of({**first, "min_size": 40}, second)
    with pytest.raises(ModelError, match="a second Resize, whose scale depends"):
        steps_of(augmented(RESIZE, RESIZE, img_scale=None, img_ratios=[0.5]))
    with pytest.raises(ModelError, match="img_ratios after a transform that changes the size"):
        steps_of(augmented({"type": "Pad", "size_divisor": 8}, RESIZE, img_scale=None, img_ratios=[0.5]))


def test_an_infinite_long_edge_is_no_limit():
    result = read(augmented(RESIZE, img_scale=(float("inf"), 512)))
    assert result.nominal_size is None
    for size in ((40, 30), (30, 4000), (700, 700)):  # (width, height)
        expected = mmcv.rescale_size(size, (float("inf"), 512))
        meta = ModelMeta(name="m", preprocessing=result.steps)
        array = Preprocessor(meta)(np.zeros((size[1], size[0], 3), np.uint8), "image").array
        assert array.shape == (3, expected[1], expected[0])


@pytest.mark.parametrize(
    ("transform", "scale"),
    [
        ({"keep_ratio": False}, (float("inf"), 512)),
        ({}, (float("inf"), float("inf"))),
        ({}, (float("nan"), 512)),
        ({}, (0, 512)),
        ({}, []),
        ({"min_size": 0}, (64, 32)),
        ({"no_such": 1}, (64, 32)),
    ],
)
def test_settings_of_resize_that_cannot_be_read(transform, scale):
    with pytest.raises(ModelError, match="test pipeline") as caught:
        steps_of(augmented({**RESIZE, **transform}, img_scale=scale))
    assert "\n" not in str(caught.value)


def test_padding_forms():
    def pad(channels: int = 3, **settings) -> tuple:
        return steps_of({"type": "Pad", **settings}, loader={"type": "Own"}, network=channels)

    assert pad(size_divisor=32) == (Pad(divisor=32),)
    assert pad(size=(8, 9), pad_val=(7, 8, 9)) == (Pad(size=(8, 9), value=(7.0, 8.0, 9.0)),)
    assert pad(size_divisor=8, pad_val=7) == (Pad(divisor=8, value=(7.0, 0.0, 0.0)),), "as OpenCV takes it"
    assert pad(1, size_divisor=8, pad_val=7) == pad(1, size_divisor=8, pad_val=[7]) == (Pad(None, 8, (7.0,)),)
    assert pad(13, size_divisor=8, pad_val=0) == (Pad(divisor=8),)
    assert pad(13, size_divisor=8, pad_val=(0,) * 13) == (Pad(divisor=8),), (
        "mmcv refuses it; its meaning is clear"
    )
    many = tuple(map(float, range(13)))
    assert pad(13, size_divisor=8, pad_val=many) == (Pad(divisor=8, value=many),)
    with pytest.raises(ModelError, match=r"pads 5 channels with one value.*one value for each channel"):
        pad(5, size_divisor=8, pad_val=1)
    with pytest.raises(ModelError, match="pads with 3 values, the images have 4 channels"):
        pad(4, size_divisor=8, pad_val=(1, 2, 3))
    with pytest.raises(ModelError, match="pads with a value that is not finite"):
        pad(size_divisor=8, pad_val=float("nan"))
    for wrong in ({"size_divisor": 0}, {}, {"size": (8, 8), "size_divisor": 8}, {"padding_mode": "reflect"}):
        with pytest.raises(ModelError, match="the test pipeline of the config cannot be read"):
            pad(**wrong)


@pytest.mark.parametrize(
    "change",
    [{"std": [1, 0, 1]}, {"std": [1, float("inf"), 1]}, {"mean": [float("nan"), 0, 0]}, {"std": 1e-60}],
)
def test_a_normalisation_that_gives_no_numbers(change):
    with pytest.raises(ModelError, match=r"normalises with a (std|mean)"):
        steps_of(NORMALISE | change)


def test_only_three_channels_are_reversed():
    def normalise(channels: int, **settings) -> tuple:
        step = {"type": "Normalize", "mean": [1.0], "std": [2.0], **settings}
        return steps_of(step, loader={"type": "Own"}, network=channels)

    for channels in (1, 4):
        assert normalise(channels) == (Normalize((1.0,) * channels, (2.0,) * channels),)
    assert normalise(3)[0] == ChannelOrder((2, 1, 0))
    for channels in (2, 5):
        with pytest.raises(
            ModelError, match=f"normalises {channels} channels with to_rgb=True.*to_rgb=False"
        ):
            normalise(channels)
        assert normalise(channels, to_rgb=False) == (Normalize((1.0,) * channels, (2.0,) * channels),)


def test_flips_outside_of_augmentation():
    def flip(**settings) -> dict:
        return {"type": "RandomFlip", **settings}

    assert steps_of(flip()) == steps_of(flip(prob=0.0)) == ()
    assert steps_of(flip(prob=1.0, direction="vertical"), NORMALISE)[0] == Flip("vertical")
    with pytest.raises(ModelError, match=r"has RandomFlip\(prob=0.5\), which"):
        steps_of(flip(prob=0.5))
    with pytest.raises(ModelError, match=r"has RandomFlip\(prob=0.5\), which"):
        steps_of(flip(flip_ratio=0.5))
    with pytest.raises(ModelError, match="a second RandomFlip"):
        steps_of(flip(prob=1.0), flip(prob=1.0))
    with pytest.raises(ModelError, match="a second RandomFlip"):  # the first decides: it flips twice
        steps_of(flip(prob=1.0), flip(prob=0.0))
    assert steps_of(flip(prob=0.0), flip(prob=1.0)) == ()
    with pytest.raises(ModelError, match="RandomFlip before MultiScaleFlipAug"):
        steps_of(flip(prob=1.0), augmented(NORMALISE, img_scale=(8, 8)))
    with pytest.raises(ModelError, match="the direction 'diagonal'"):
        steps_of(flip(prob=1.0, direction="diagonal"))


IDLE = [
    {"type": "LoadAnnotations"},
    {"type": "SegRescale", "scale_factor": 0.5},
    {"type": "RandomRotate", "prob": 0.0, "degree": 10},
    {"type": "DefaultFormatBundle"},
    {"type": "ImageToTensor", "keys": ["img"]},
    {"type": "Transpose", "keys": ["img"], "order": (2, 0, 1)},
    {"type": "ToTensor", "keys": ["img"]},
    {"type": "Collect", "keys": ["img"]},
]


def test_what_leaves_the_image_alone():
    assert steps_of(*IDLE, NORMALISE) == NORMALISED


WRONG = [
    ({"type": "CLAHE"}, "CLAHE"),
    ({"type": "Rerange"}, "Rerange"),
    ({"type": "RGB2Gray"}, "RGB2Gray"),
    ({"type": "AdjustGamma"}, "AdjustGamma"),
    ({"type": "RandomCrop", "crop_size": (8, 8)}, "RandomCrop"),
    ({"type": "RandomRotate", "prob": 0.5, "degree": 10}, "RandomRotate"),
    ({"type": "PhotoMetricDistortion"}, "PhotoMetricDistortion"),
    ({"type": "Transpose", "keys": ["img"], "order": (1, 0, 2)}, "Transpose"),
    ({"type": "ResizeToMultiple", "size_divisor": (8, 16)}, "ResizeToMultiple with two divisors"),
    ({"type": "MySecret"}, "MySecret"),
    (len, "len"),
]


@pytest.mark.parametrize(("transform", "name"), WRONG)
def test_what_cannot_be_expressed_is_an_error_or_noted(transform, name):
    with pytest.raises(ModelError) as caught:
        steps_of(transform, NORMALISE)
    assert f"the test pipeline has {name}, which segplug cannot do" in str(caught.value)
    assert "--approximate" in str(caught.value)
    assert "\n" not in str(caught.value)
    approximate = read(transform, NORMALISE, approximate=True)
    assert approximate.steps == NORMALISED
    assert approximate.approximations == (f"{name} is left out",)


def test_a_random_resize_is_an_error_or_uses_its_first_scale():
    scales = {"type": "Resize", "img_scale": [(8, 8), (9, 9)]}
    ratios = {"type": "Resize", "ratio_range": (0.5, 2.0)}
    for transform in (scales, ratios):
        with pytest.raises(ModelError, match="resizes at random"):
            steps_of(transform)
    assert read(scales, approximate=True).approximations == ("Resize uses its first scale, 8x8",)
    noted = read(ratios, approximate=True)
    assert noted.steps == (Resize(fit="inside", ratio=0.5),)
    assert noted.approximations == ("Resize uses its first scale, 0.5 times the image's own size",)


def test_a_transform_of_the_users_own_under_mmsegs_name(monkeypatch):
    from mmseg.datasets import PIPELINES

    class Normalize:
        pass

    monkeypatch.setitem(PIPELINES.module_dict, "Normalize", Normalize)
    with pytest.raises(ModelError, match="has Normalize, which segplug cannot do"):
        steps_of(NORMALISE)


def test_a_transform_may_be_named_by_its_class():
    from mmseg.datasets.pipelines import Normalize as Theirs

    assert steps_of({**NORMALISE, "type": Theirs}) == NORMALISED


LOADER = {"type": "LoadImageFromFile"}


@pytest.mark.parametrize(
    ("settings", "decoding", "channels"),
    [
        ({}, Decoding(), 3),
        ({"color_type": "grayscale"}, Decoding(color="grayscale"), 1),
        ({"color_type": "color_ignore_orientation"}, Decoding(color="color_ignore_orientation"), 3),
        ({"color_type": "unchanged"}, Decoding(color="unchanged"), 4),
        ({"imdecode_backend": "pillow"}, Decoding(library="pillow"), 3),
        ({"imdecode_backend": "turbojpeg"}, Decoding(library="turbojpeg"), 3),
        ({"imdecode_backend": "tifffile"}, Decoding(library="tifffile", color="unchanged"), 4),
        ({"imdecode_backend": None}, Decoding(), 3),
    ],
)
def test_loaders(settings, decoding, channels):
    result = read(loader=LOADER | settings, network=channels)
    assert (result.decoding, result.in_channels, result.steps) == (decoding, channels, ())
    as_float = read(loader=LOADER | settings | {"to_float32": True}, network=channels)
    assert (as_float.decoding, as_float.steps) == (decoding, (Convert(),))


def test_the_backend_that_a_config_chose_for_all_of_mmcv(monkeypatch):
    monkeypatch.setattr("mmcv.image.io.imread_backend", "pillow")
    assert read(loader=LOADER | {"imdecode_backend": None}).decoding == Decoding(library="pillow")
    assert read(loader=LOADER).decoding == Decoding()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"color_type": "rgb"}, "color_type='rgb', which is none of color"),
        ({"imdecode_backend": "libvips"}, "imdecode_backend='libvips', which is none of cv2"),
        ({"imdecode_backend": "turbojpeg", "color_type": "unchanged"}, "none of color, grayscale"),
    ],
)
def test_loaders_that_mmcv_does_not_have(settings, reason):
    with pytest.raises(ModelError, match=reason):
        read(loader=LOADER | settings)


def test_loaders_of_the_users_own_and_none():
    own = read(NORMALISE, loader={"type": "LoadBands", "bands": [1, 2]})
    assert own.decoding == Decoding(loader="LoadBands")
    assert not own.decoding.gives_bgr
    for network in (1, 3, 5):
        none = read(loader={"type": "Pad", "size_divisor": 8}, network=network)
        assert none.steps == (Pad(divisor=8),)
        assert none.decoding == Decoding.for_channels(network)


def test_a_config_without_a_test_pipeline():
    reporter = QuietReporter()
    result = read_pipeline({"img_norm_cfg": {"mean": [1, 2, 3], "std": [4, 5, 6]}}, reporter)
    assert (result.steps, result.decoding, result.nominal_size) == (NORMALISED, Decoding(), None)
    assert reporter.warnings == [
        "the config has no test pipeline: images are normalised as img_norm_cfg says, and fed at their "
        "own size"
    ]
    plain = read_pipeline({}, reporter, network=1)
    assert (plain.steps, plain.decoding, plain.in_channels) == ((), Decoding(color="grayscale"), 1)
    assert "images are not normalised" in reporter.warnings[1]


def test_pipelines_that_differ_between_data_sets():
    one, other = ({"pipeline": [LOADER, {**NORMALISE, "mean": mean}]} for mean in ([1, 2, 3], [1, 2, 4]))
    config = {"data": {"test": [one, {"type": "RepeatDataset", "dataset": other}]}}
    with pytest.raises(ModelError, match="not the same for all data sets"):
        read_pipeline(config, QuietReporter())
    noted = read_pipeline(config, QuietReporter(), approximate=True)
    assert noted.steps == NORMALISED
    assert noted.approximations == ("the first pipeline of data.test is used for all its data sets",)
    assert read_pipeline({"data": {"test": [one, one]}}, QuietReporter()).steps == NORMALISED


@pytest.mark.parametrize("pipeline", [5, [5, 6], [{"type": "LoadImageFromFile"}, {"no": "type"}]])
def test_pipelines_that_cannot_be_read(pipeline):
    with pytest.raises(ModelError) as caught:
        read_pipeline({"test_pipeline": pipeline}, QuietReporter())
    assert "\n" not in str(caught.value)
