"""Slide inference gives mmseg's own averages."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segplug.engine import Axis, EngineSpec
from segplug.errors import ModelError, ShapeError, UsageError
from segplug.model import Inference, ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime.runner import Runner
from segplug.runtime.slide import Slider, windows
from segplug.testing.engines import FunctionEngine

CLASSES = 4


def _network(batch: np.ndarray) -> np.ndarray:
    """Logits that depend on the place in the window, as a real network's do."""
    _, _, height, width = batch.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    planes = [batch[:, 0] * y, batch[:, 1] + x, batch[:, 2] * x * y, batch.sum(axis=1)]
    return np.stack(planes, axis=1)


def _at_stride(batch: np.ndarray, stride: int = 4) -> np.ndarray:
    """Logits at a stride of the input, rounded up."""
    return np.ascontiguousarray(_network(batch)[:, :, ::stride, ::stride])


def _upsampled(batch: np.ndarray, align_corners: bool) -> np.ndarray:
    """What mmseg's decode head does with such logits."""
    logits = torch.from_numpy(_at_stride(batch))
    size = batch.shape[2:]
    return torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=align_corners).numpy()


def _mmseg_slide(array: np.ndarray, crop, stride, network=_network) -> np.ndarray:
    from mmseg.models.segmentors import EncoderDecoder

    fake = SimpleNamespace(
        test_cfg=SimpleNamespace(crop_size=crop, stride=stride),
        out_channels=CLASSES,
        encode_decode=lambda image, _: torch.from_numpy(network(image.numpy())),
    )
    return EncoderDecoder.slide_inference(fake, torch.from_numpy(array)[None], None, False)[0].numpy()


def _engine(
    crop, stride, *, output="logits", batch=None, height=None, width=None, network=_network, **fields
) -> FunctionEngine:
    meta = ModelMeta("m", out_channels=CLASSES, inference=Inference("slide", crop, stride), **fields)
    axes = (batch or Axis(), height or Axis(), width or Axis())
    spec = EngineSpec(meta, output, *axes, backend="test")
    return FunctionEngine(spec, network)


@pytest.mark.parametrize("stride", [(25, 16), (16, 21), (0, 16), (16, -1)])
def test_strides_that_leave_gaps_or_do_not_move_are_refused(stride):
    with pytest.raises(UsageError, match="cannot cover"):
        Slider(Runner(_engine((24, 20), stride)))


def test_images_padded_to_the_window_are_one_warning():
    reporter = QuietReporter()
    fixed = {"height": Axis.fixed(24), "width": Axis.fixed(24)}
    slider = Slider(Runner(_engine((24, 24), (16, 16), **fixed)), reporter)
    slider(np.zeros((3, 24, 40), np.float32))
    assert not reporter.warnings
    for _ in range(2):
        slider(np.zeros((3, 20, 40), np.float32))
    assert len(reporter.warnings) == 1
    assert "--dynamic" in reporter.warnings[0]


@pytest.mark.parametrize("size", [(48, 64), (50, 71), (24, 24), (24, 90), (97, 33)])
@pytest.mark.parametrize(("crop", "stride"), [((24, 24), (16, 16)), ((24, 20), (24, 20)), ((20, 24), (7, 5))])
def test_the_average_is_mmsegs(mmseg, size, crop, stride):
    array = np.random.default_rng(0).standard_normal((3, *size)).astype(np.float32)
    engine = _engine(crop, stride)
    assert np.array_equal(Slider(Runner(engine))(array), _mmseg_slide(array, crop, stride))
    assert sum(shape[0] for shape in engine.shapes) == len(windows(size, crop, stride))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(48, 64), (50, 71), (24, 24), (19, 90), (97, 33)])
@pytest.mark.parametrize(("crop", "stride"), [((24, 24), (16, 16)), ((23, 30), (20, 13))])
def test_scores_at_a_stride_are_averaged_at_the_size_of_the_window(mmseg, size, crop, stride, align_corners):
    array = np.random.default_rng(0).standard_normal((3, *size)).astype(np.float32)
    for batch in (Axis(), Axis.fixed(4)):
        engine = _engine(
            crop, stride, batch=batch, network=_at_stride, output_stride=4, align_corners=align_corners
        )
        expected = _mmseg_slide(array, crop, stride, lambda batch: _upsampled(batch, align_corners))
        found = Slider(Runner(engine))(array)
        assert found.shape == (CLASSES, *size)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_images_of_any_channels_are_cut_into_windows(mmseg):
    array = np.random.default_rng(0).standard_normal((13, 50, 71)).astype(np.float32)
    engine = _engine((24, 24), (16, 16), in_channels=13)
    assert np.array_equal(Slider(Runner(engine))(array), _mmseg_slide(array, (24, 24), (16, 16)))
    assert {shape[1] for shape in engine.shapes} == {13}


def test_windows_are_batched_up_to_what_the_engine_takes(mmseg):
    array = np.random.default_rng(0).standard_normal((3, 50, 71)).astype(np.float32)
    expected = _mmseg_slide(array, (24, 24), (16, 16))
    assert len(windows((50, 71), (24, 24), (16, 16))) == 12
    for batch, sizes in [(Axis(1, 1), {1}), (Axis(1, 5), {5, 2}), (Axis.fixed(4), {4})]:
        engine = _engine((24, 24), (16, 16), batch=batch)
        assert np.array_equal(Slider(Runner(engine))(array), expected)
        assert {shape[0] for shape in engine.shapes} == sizes


def test_an_image_smaller_than_the_crop_goes_in_as_it_is_where_the_engine_takes_it(mmseg):
    array = np.random.default_rng(0).standard_normal((3, 20, 40)).astype(np.float32)
    engine = _engine((32, 32), (16, 16))
    assert np.array_equal(Slider(Runner(engine))(array), _mmseg_slide(array, (32, 32), (16, 16)))
    assert engine.shapes[0][2:] == (20, 32)


def test_an_image_smaller_than_the_crop_is_padded_for_a_fixed_engine():
    array = np.random.default_rng(0).standard_normal((3, 20, 24)).astype(np.float32)
    engine = _engine((32, 32), (16, 16), height=Axis.fixed(32), width=Axis.fixed(32))
    result = Slider(Runner(engine))(array)
    padded = np.zeros((1, 3, 32, 32), np.float32)
    padded[0, :, :20, :24] = array
    assert result.shape == (CLASSES, 20, 24)
    assert np.array_equal(result, _network(padded)[0, :, :20, :24])


def test_the_padding_of_a_window_is_cut_from_scores_at_a_stride_too():
    array = np.random.default_rng(0).standard_normal((3, 21, 30)).astype(np.float32)
    size = {"height": Axis.fixed(32), "width": Axis.fixed(32)}
    engine = _engine((32, 32), (16, 16), network=_at_stride, output_stride=4, **size)
    padded = np.zeros((1, 3, 32, 32), np.float32)
    padded[0, :, :21, :30] = array
    expected = _upsampled(padded, align_corners=False)[0, :, :21, :30]
    np.testing.assert_allclose(Slider(Runner(engine))(array), expected, atol=1e-4)


def test_an_engine_of_another_size_is_refused_with_the_export_that_helps():
    engine = _engine((32, 32), (16, 16), height=Axis.fixed(64), width=Axis.fixed(64))
    with pytest.raises(ShapeError, match="--shape 32 32"):
        Slider(Runner(engine))


def test_a_labels_engine_is_refused():
    with pytest.raises(UsageError, match="logits"):
        Slider(Runner(_engine((32, 32), (16, 16), output="labels")))


def test_metadata_without_a_crop_is_refused():
    with pytest.raises(ModelError, match="crop"):
        Slider(Runner(_engine(None, None)))


@pytest.mark.parametrize(("length", "crop"), [(24, 24), (9, 24), (25, 24), (48, 24), (71, 24), (241, 24)])
def test_windows_that_lie_evenly_are_as_few_as_cover_the_image(length, crop):
    places = windows((length, 24), (crop, 24), None)
    assert len(places) == -(-length // crop)
    assert {(place.left, place.right) for place in places} == {(0, 24)}
    starts = [place.top for place in places]
    assert starts[0] == 0
    assert places[-1].bottom == length
    steps = np.diff(starts)
    assert (steps <= crop).all()
    assert steps.size == 0 or steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    "inference",
    [Inference("slide", (24, 24), (16, 16), "even"), Inference("slide", None, None, "even")],
)
def test_windows_that_lie_evenly_have_a_crop_and_no_stride(inference):
    spec = EngineSpec(ModelMeta("m", out_channels=CLASSES, inference=inference), "logits", backend="test")
    with pytest.raises(ModelError, match="which needs a crop size and no stride"):
        Slider(Runner(FunctionEngine(spec, _network)))
