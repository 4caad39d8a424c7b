"""Network inputs equal those of mmseg's test pipeline bit for bit, and fit the engine."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.engine import Axis, EngineSpec
from segplug.errors import ShapeError
from segplug.model import InputLimits, ModelMeta
from segplug.preprocessing import Flip, Normalize, Pad, Resize, usual_steps
from segplug.progress import QuietReporter
from segplug.runtime.preprocess import Preprocessor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def preprocess(image, meta):
    return Preprocessor(meta)(image, "the image")


def _model(*, resize=None, pad=None, mean=(0.0,) * 3, std=(1.0,) * 3) -> ModelMeta:
    return ModelMeta("m", preprocessing=usual_steps(mean, std, resize=resize, pad=pad))


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


INSIDE = Resize((70, 50), "inside")
CASES = {
    "same size": ({"scale": (70, 50)}, (INSIDE,), None),
    "keep ratio, smaller": ({"scale": (48, 40)}, (Resize((48, 40), "inside"),), None),
    "keep ratio, larger": ({"scale": (333, 170)}, (Resize((333, 170), "inside"),), None),
    "exact size": ({"scale": (64, 33), "keep_ratio": False}, (Resize((64, 33)),), None),
    "ratio of its own size": ({"scale": None, "ratios": [1.3]}, (Resize(None, "inside", 1.3),), None),
    "ratio one": ({"scale": None, "ratios": [1.0]}, (Resize(None, "inside", 1.0),), None),
    "least short edge": (
        {"scale": (90, 20), "min_size": 41},
        (Resize((90, 20), "inside", min_size=41),),
        None,
    ),
    "least short edge, idle": (
        {"scale": (90, 64), "min_size": 41},
        (Resize((90, 64), "inside", min_size=41),),
        None,
    ),
    "to a multiple": (
        {"scale": (60, 60), "multiple": 32},
        (Resize((60, 60), "inside"), Resize(multiple_of=32)),
        None,
    ),
    "padded to a divisor": (
        {"scale": (70, 50), "pad": {"size_divisor": 32}},
        (INSIDE,),
        Pad(divisor=32),
    ),
    "padded to a size": (
        {"scale": (70, 50), "pad": {"size": (60, 64)}},
        (INSIDE,),
        Pad(size=(60, 64)),
    ),
    "padded with a value": (  # OpenCV reads one number as that of the first channel
        {"scale": (70, 50), "pad": {"size_divisor": 16, "pad_val": 5}},
        (INSIDE,),
        Pad(divisor=16, value=(5, 0, 0)),
    ),
    "blue first": ({"scale": (70, 50), "rgb": False}, (INSIDE,), None),
}


@pytest.mark.parametrize("size", [(50, 70), (70, 50), (101, 37), (64, 64)])
@pytest.mark.parametrize("case", CASES)
def test_the_input_is_bit_for_bit_mmsegs(mmseg, photo, case, size):
    settings, resizes, pad = CASES[case]
    order = "rgb" if settings.get("rgb", True) else "bgr"
    steps = (*resizes, *usual_steps(MEAN, STD, channel_order=order, pad=pad))
    image = photo(*size)
    expected, valid = _pipeline(image, **settings)
    prepared = preprocess(image, ModelMeta("m", preprocessing=steps))
    assert prepared.array.dtype == np.float32
    assert prepared.array.flags.c_contiguous
    assert np.array_equal(prepared.array, expected)
    assert prepared.geometry.valid == valid
    assert prepared.geometry.original == size
    assert prepared.geometry.network == expected.shape[1:]


def test_every_pixel_value_is_normalised_as_mmcv_does(mmseg):
    from mmcv import imnormalize

    rng = np.random.default_rng(1)
    for _ in range(20):
        mean, std = rng.uniform(0, 255, 3), rng.uniform(0.1, 300, 3)
        image = rng.permutation(np.repeat(np.arange(256, dtype=np.uint8), 3)).reshape(16, 16, 3)
        expected = imnormalize(image, np.array(mean, np.float32), np.array(std, np.float32), True)
        prepared = preprocess(image, _model(mean=mean, std=std))
        assert np.array_equal(prepared.array, expected.transpose(2, 0, 1))


def test_the_image_is_not_changed(photo):
    image = photo(40, 40)
    kept = image.copy()
    preprocess(image, _model(resize=Resize((20, 20)), pad=Pad(divisor=32)))
    assert np.array_equal(image, kept)


def _spec(meta, height, width):
    return EngineSpec(meta, "logits", height=height, width=width)


def test_a_fixed_engine_gets_the_image_stretched_with_one_warning(photo):
    import cv2

    meta = _model(resize=Resize((64, 64), "inside"))
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


def test_a_stretched_image_is_not_padded_and_keeps_the_other_steps(photo):
    """The size changes in one resize, with the algorithm of the model's own; all other steps stay."""
    from PIL import Image

    resize = Resize((64, 64), "inside", algorithm="pillow", filter="bicubic")
    meta = ModelMeta("m", preprocessing=(resize, Pad(size=(90, 90), value=(9,) * 3), Normalize(MEAN, STD)))
    image = photo(50, 70)
    prepared = Preprocessor(meta, _spec(meta, Axis.fixed(32), Axis.fixed(48)))(image, "a")
    straight = np.asarray(Image.fromarray(image).resize((48, 32), Image.Resampling.BICUBIC))
    expected = preprocess(straight, ModelMeta("m", preprocessing=(Normalize(MEAN, STD),)))
    assert np.array_equal(prepared.array, expected.array)
    geometry = prepared.geometry
    assert (geometry.original, geometry.valid, geometry.network) == ((50, 70), (32, 48), (32, 48))


def test_a_fixed_engine_of_the_right_size_changes_nothing(photo):
    meta = _model(resize=Resize((64, 64), "inside"), pad=Pad(size=(64, 64)))
    reporter = QuietReporter()
    prepare = Preprocessor(meta, _spec(meta, Axis.fixed(64), Axis.fixed(64)), reporter)
    image = photo(50, 70)
    assert np.array_equal(prepare(image, "a").array, preprocess(image, meta).array)
    assert not reporter.warnings


@pytest.mark.parametrize("view", [(Resize((64, 64)),), (Resize((64, 64)), Flip())])
def test_a_view_is_never_stretched(photo, view):
    """The views of test-time augmentation differ in their sizes: stretched, all of them would be one."""
    meta = _model().replace(tta=(view,))
    reporter = QuietReporter()
    prepare = Preprocessor(meta, _spec(meta, Axis.fixed(32), Axis.fixed(48)), reporter, steps=view)
    with pytest.raises(ShapeError, match=r"big\.png is 64x64 .* takes height 32 and width 48") as raised:
        prepare(photo(50, 70), "big.png")
    assert "--no-tta" in raised.value.hint
    assert "--dynamic" in raised.value.hint
    assert not reporter.warnings


def test_an_engine_that_wants_multiples_gets_zeros_at_the_edge(photo):
    meta = _model(mean=MEAN, std=STD)
    axis = Axis(32, 128, 32)
    prepared = Preprocessor(meta, _spec(meta, axis, axis))(photo(50, 70), "a")
    assert prepared.array.shape == (3, 64, 96)
    assert prepared.geometry.valid == (50, 70)
    assert prepared.geometry.network == (64, 96)
    assert np.array_equal(prepared.array[:, :50, :70], preprocess(photo(50, 70), meta).array)
    assert not prepared.array[:, 50:].any()
    assert not prepared.array[:, :, 70:].any()


def test_padding_that_stays_is_not_cut_with_the_zeros_of_the_engine(photo):
    meta = _model(pad=Pad(size=(60, 80), value=(7, 8, 9), cut=False))
    axis = Axis(32, 128, 32)
    prepared = Preprocessor(meta, _spec(meta, axis, axis))(photo(50, 70), "a")
    assert prepared.array.shape == (3, 64, 96)
    assert prepared.geometry.valid == (60, 80)
    assert prepared.array[:, 59, 79].tolist() == [7, 8, 9]
    assert not prepared.array[:, 60:].any()
    assert not prepared.array[:, :, 80:].any()


def test_a_size_out_of_range_is_an_error_that_names_image_size_and_range(photo):
    meta = _model()
    prepare = Preprocessor(meta, _spec(meta, Axis(32, 64), Axis(32, 64)))
    with pytest.raises(ShapeError, match=r"big\.png is 50x70.*32\.\.64"):
        prepare(photo(50, 70), "big.png")


def test_a_size_that_the_network_itself_refuses_says_so(photo):
    meta = _model().replace(input_limits=InputLimits((32, 32), 32, (64, 64)))
    with pytest.raises(ShapeError, match=r"network itself takes 32x32 to 64x64, multiples of 32: resize"):
        Preprocessor(meta, EngineSpec(meta, "logits"))(photo(50, 70), "big.png")


def test_a_narrow_image_that_would_get_too_large_is_refused_before_memory_is_taken(photo):
    least = Preprocessor(_model(resize=Resize((2048, 512), "inside", min_size=512)))
    with pytest.raises(
        ShapeError, match=r"long\.png is 20000x1 \(.*would make it 10240000x512: more than 178956970 pixels"
    ):
        least(photo(20000, 1), "long.png")
    assert least(photo(20, 10), "short.png").geometry.network == (1024, 512)


def test_an_engine_that_preprocesses_itself_gets_the_image(photo):
    meta = _model(mean=MEAN, std=STD, resize=Resize((8, 8)))
    spec = EngineSpec(meta, "labels", input="image")
    image = photo(50, 70).astype(np.uint16)[:, ::-1]
    prepared = Preprocessor(meta, spec)(image, "a")
    assert prepared.array.dtype == np.uint16
    assert prepared.array.flags.c_contiguous
    assert np.array_equal(prepared.array, image)
    geometry = prepared.geometry
    assert geometry.original == geometry.valid == geometry.network == (50, 70)
