"""Network inputs equal those of mmseg's test pipeline bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.engine import Axis, EngineSpec
from segplug.errors import ShapeError
from segplug.model import ModelMeta, Pad, Resize
from segplug.progress import QuietReporter
from segplug.runtime.preprocess import Preprocessor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def preprocess(image, meta):
    return Preprocessor(meta)(image, "the image")


def _pipeline(
    image, *, scale, ratios=None, keep_ratio=True, min_size=None, multiple=None, pad=None, rgb=True
):
    """The image after mmseg's own MultiScaleFlipAug, float32 (3, H, W), and its size before padding."""
    from mmseg.datasets.pipelines import Compose

    resize = {"type": "Resize", "keep_ratio": keep_ratio, "min_size": min_size}
    steps = [resize, {"type": "RandomFlip"}]
    if multiple:
        steps.insert(1, {"type": "ResizeToMultiple", "size_divisor": multiple})
    steps.append({"type": "Normalize", "mean": list(MEAN), "std": list(STD), "to_rgb": rgb})
    if pad:
        steps.append({"type": "Pad", **pad})
    steps += [{"type": "ImageToTensor", "keys": ["img"]}, {"type": "Collect", "keys": ["img"]}]
    pipeline = Compose(
        [
            {
                "type": "MultiScaleFlipAug",
                "img_scale": scale,
                "img_ratios": ratios,
                "flip": False,
                "transforms": steps,
            }
        ]
    )
    fields = {"filename": "a", "ori_filename": "a", "ori_shape": image.shape, "scale_factor": 1.0}
    data = pipeline({"img": image.copy(), "img_shape": image.shape, "pad_shape": image.shape, **fields})
    metas = data["img_metas"][0].data
    return data["img"][0].numpy(), tuple(metas["img_shape"][:2])


CASES = {
    "same size": ({"scale": (70, 50)}, Resize((70, 50), True), None),
    "keep ratio, smaller": ({"scale": (48, 40)}, Resize((48, 40), True), None),
    "keep ratio, larger": ({"scale": (333, 170)}, Resize((333, 170), True), None),
    "exact size": ({"scale": (64, 33), "keep_ratio": False}, Resize((64, 33)), None),
    "ratio of its own size": ({"scale": None, "ratios": [1.3]}, Resize(None, True, 1.3), None),
    "ratio one": ({"scale": None, "ratios": [1.0]}, Resize(None, True, 1.0), None),
    "least short edge": ({"scale": (90, 20), "min_size": 41}, Resize((90, 20), True, min_size=41), None),
    "least short edge, idle": (
        {"scale": (90, 64), "min_size": 41},
        Resize((90, 64), True, min_size=41),
        None,
    ),
    "to a multiple": (
        {"scale": (60, 60), "multiple": 32},
        Resize((60, 60), True, multiple_of=32),
        None,
    ),
    "padded to a divisor": (
        {"scale": (70, 50), "pad": {"size_divisor": 32}},
        Resize((70, 50), True),
        Pad(divisor=32),
    ),
    "padded to a size": (
        {"scale": (70, 50), "pad": {"size": (60, 64)}},
        Resize((70, 50), True),
        Pad(size=(60, 64)),
    ),
    "padded with a value": (
        {"scale": (70, 50), "pad": {"size_divisor": 16, "pad_val": 5}},
        Resize((70, 50), True),
        Pad(divisor=16, value=5),
    ),
    "blue first": ({"scale": (70, 50), "rgb": False}, Resize((70, 50), True), None),
}


@pytest.mark.parametrize("size", [(50, 70), (70, 50), (101, 37), (64, 64)])
@pytest.mark.parametrize("case", CASES)
def test_the_input_is_bit_for_bit_mmsegs(mmseg, photo, case, size):
    settings, resize, pad = CASES[case]
    order = "rgb" if settings.get("rgb", True) else "bgr"
    meta = ModelMeta("m", mean=MEAN, std=STD, channel_order=order, resize=resize, pad=pad)
    image = photo(*size)
    expected, valid = _pipeline(image, **settings)
    prepared = preprocess(image, meta)
    assert prepared.array.dtype == np.float32
    assert prepared.array.flags.c_contiguous
    assert np.array_equal(prepared.array, expected)
    assert prepared.geometry.valid == valid
    assert prepared.geometry.original == size


def test_every_pixel_value_is_normalised_as_mmcv_does(mmseg):
    from mmcv import imnormalize

    rng = np.random.default_rng(1)
    for _ in range(20):
        mean, std = rng.uniform(0, 255, 3), rng.uniform(0.1, 300, 3)
        image = rng.permutation(np.repeat(np.arange(256, dtype=np.uint8), 3)).reshape(16, 16, 3)
        expected = imnormalize(image, np.array(mean, np.float32), np.array(std, np.float32), True)
        prepared = preprocess(image, ModelMeta("m", mean=tuple(mean), std=tuple(std)))
        assert np.array_equal(prepared.array, expected.transpose(2, 0, 1))


def test_the_image_is_not_changed(photo):
    image = photo(40, 40)
    kept = image.copy()
    preprocess(image, ModelMeta("m", resize=Resize((20, 20)), pad=Pad(divisor=32)))
    assert np.array_equal(image, kept)


def _spec(meta, height, width):
    return EngineSpec(meta, "logits", height=height, width=width)


def test_a_fixed_engine_gets_the_image_stretched_with_one_warning(photo):
    import cv2

    meta = ModelMeta("m", resize=Resize((64, 64), True))
    reporter = QuietReporter()
    prepare = Preprocessor(meta, _spec(meta, Axis.fixed(32), Axis.fixed(48)), reporter)
    image = photo(50, 70)
    prepared = prepare(image, "a.png")
    straight = cv2.resize(image, (48, 32), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(prepared.array, straight[..., ::-1].transpose(2, 0, 1).astype(np.float32))
    assert prepared.geometry.valid == (32, 48)
    prepare(image, "b.png")
    assert len(reporter.warnings) == 1
    assert "a.png" in reporter.warnings[0]
    assert "32x48" in reporter.warnings[0]


def test_a_fixed_engine_of_the_right_size_changes_nothing(photo):
    meta = ModelMeta("m", resize=Resize((64, 64), True), pad=Pad(size=(64, 64)))
    reporter = QuietReporter()
    prepare = Preprocessor(meta, _spec(meta, Axis.fixed(64), Axis.fixed(64)), reporter)
    image = photo(50, 70)
    assert np.array_equal(prepare(image, "a").array, preprocess(image, meta).array)
    assert not reporter.warnings


def test_an_engine_that_wants_multiples_gets_zeros_at_the_edge(photo):
    meta = ModelMeta("m", mean=MEAN, std=STD)
    axis = Axis(32, 128, 32)
    prepared = Preprocessor(meta, _spec(meta, axis, axis))(photo(50, 70), "a")
    assert prepared.array.shape == (3, 64, 96)
    assert prepared.geometry.valid == (50, 70)
    assert np.array_equal(prepared.array[:, :50, :70], preprocess(photo(50, 70), meta).array)
    assert not prepared.array[:, 50:].any()
    assert not prepared.array[:, :, 70:].any()


def test_a_size_out_of_range_is_an_error_that_names_image_size_and_range(photo):
    meta = ModelMeta("m")
    prepare = Preprocessor(meta, _spec(meta, Axis(32, 64), Axis(32, 64)))
    with pytest.raises(ShapeError, match=r"big\.png is 50x70.*32\.\.64"):
        prepare(photo(50, 70), "big.png")
