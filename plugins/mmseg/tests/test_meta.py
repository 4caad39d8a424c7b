from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.config import read_config, runnable_model
from segplug_mmseg.meta import Head, read_meta
from segplug_mmseg.pipeline import read_pipeline

from segplug.errors import ModelError
from segplug.model import Inference, ModelMeta, Pad, Resize
from segplug.progress import QuietReporter
from segplug.runtime.preprocess import Preprocessor

NORMALISE = {"type": "Normalize", "mean": [1, 2, 3], "std": [4, 5, 6]}


def head_of(model: dict) -> Head:
    """The head that a config describes, without building the network."""
    head = model["decode_head"]
    head = head[-1] if isinstance(head, list) else head
    head = head if "num_classes" in head else head["kernel_generate_head"]  # K-Net wraps a plain one
    channels = head.get("out_channels") or head["num_classes"]
    threshold = head.get("threshold", 0.3) if channels == 1 else None
    return Head(head["num_classes"], channels, threshold, bool(head.get("align_corners", False)))


def meta_of(path: Path, options: dict | None = None, **arguments) -> tuple[ModelMeta, list[str]]:
    reporter = QuietReporter()
    config = read_config(str(path), options)
    meta = read_meta(config, str(path), head=head_of(config.model), reporter=reporter, **arguments)
    return meta, reporter.warnings


def pipeline_of(*steps: dict, **augmentation):
    """Preprocessing for steps inside ``MultiScaleFlipAug``, or for plain steps."""
    reporter = QuietReporter()
    pipeline: list[dict] = [{"type": "LoadImageFromFile"}]
    if augmentation:
        pipeline.append({"type": "MultiScaleFlipAug", "transforms": list(steps), **augmentation})
    else:
        pipeline += steps
    return read_pipeline({"data": {"test": {"pipeline": pipeline}}}, reporter), reporter.warnings


def test_the_small_config(config_file):
    meta, warnings = meta_of(config_file)
    assert warnings == []
    assert meta.name == "small"
    assert meta.classes == ("sky", "road", "car")
    assert meta.palette == ((0, 0, 255), (128, 64, 128), (255, 0, 0))
    assert (meta.mean, meta.std, meta.channel_order) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), "rgb")
    assert meta.resize == Resize(scale=(96, 64), keep_ratio=False)
    assert meta.input_size == (64, 96)
    assert meta.inference == Inference()
    assert (meta.out_channels, meta.activation, meta.threshold) == (3, "softmax", None)
    assert meta.provenance.config_sha256 == hashlib.sha256(config_file.read_bytes()).hexdigest()
    assert meta.versions["mmsegmentation"].startswith("0.30")
    assert ModelMeta.from_json(meta.to_json()) == meta


def test_slide_takes_the_crop_as_input_size(config_file):
    options = {"model.test_cfg": {"mode": "slide", "crop_size": (32, 48), "stride": (16, 24)}}
    meta, _ = meta_of(config_file, options)
    assert meta.inference == Inference("slide", (32, 48), (16, 24))
    assert meta.input_size == (32, 48)


@pytest.mark.parametrize(
    "settings",
    [
        5,
        {"mode": "tiles"},
        {"mode": "slide"},
        {"mode": "slide", "crop_size": (0, 1)},
        {"mode": "slide", "crop_size": (32, 32), "stride": (16, 33)},
    ],
)
def test_an_inference_mode_that_cannot_be_read(config_file, settings):
    with pytest.raises(ModelError, match=r"model\.test_cfg"):
        meta_of(config_file, {"model.test_cfg": settings})


def test_a_sigmoid_head(config_file):
    options = {
        "model.decode_head.num_classes": 2,
        "model.decode_head.out_channels": 1,
        "data.test.classes": "a,b",
    }
    meta, _ = meta_of(config_file, options)
    assert (meta.out_channels, meta.activation, meta.threshold, meta.num_classes) == (1, "sigmoid", 0.3, 2)
    meta, _ = meta_of(config_file, options | {"model.decode_head.threshold": "0.6"})
    assert meta.threshold == 0.6


def test_classes_come_from_the_checkpoint_first(config_file):
    noted = {"CLASSES": ["x", "y", "z"], "PALETTE": np.arange(9).reshape(3, 3)}
    meta, warnings = meta_of(config_file, checkpoint_meta=noted)
    assert meta.classes == ("x", "y", "z")
    assert meta.palette == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert warnings == []


def test_classes_of_the_checkpoint_that_do_not_fit(config_file):
    meta, warnings = meta_of(config_file, checkpoint_meta={"CLASSES": ["x", "y"]})
    assert meta.classes == ("sky", "road", "car")
    assert "names 2 classes, not 3" in warnings[0]


def test_classes_that_fit_nowhere(config_file):
    with pytest.raises(ModelError, match=r"CustomDataset\) names 3 classes, the network has 7"):
        meta_of(config_file, {"model.decode_head.num_classes": 7})


def test_classes_of_a_data_set_class_whose_files_are_not_there(config_file):
    options = {
        "data.test": {"_delete_": True, "type": "ADE20KDataset", "img_dir": "none"},
        "model.decode_head.num_classes": 150,
    }
    meta, _ = meta_of(config_file, options)
    assert len(meta.classes) == len(meta.palette) == 150
    assert meta.reduce_zero_label


def test_no_names_anywhere(config_file):
    meta, warnings = meta_of(config_file, {"data": {"_delete_": True}})
    assert meta.classes == ("class 0", "class 1", "class 2")
    assert "names the classes" in warnings[0]


def test_resize_forms():
    assert pipeline_of({"type": "Resize"}, img_scale=(64, 32))[0].resize == Resize((64, 32), keep_ratio=True)
    with_ratio, _ = pipeline_of({"type": "Resize", "keep_ratio": False}, img_scale=(64, 32), img_ratios=[0.5])
    assert (with_ratio.resize, with_ratio.nominal_size) == (Resize((32, 16)), (16, 32))
    from_image, _ = pipeline_of({"type": "Resize"}, img_scale=None, img_ratios=[0.75])
    assert from_image.resize == Resize(keep_ratio=True, ratio=0.75)
    assert from_image.nominal_size is None
    minimum, _ = pipeline_of({"type": "Resize", "min_size": 40}, img_scale=(64, 32))
    assert minimum.resize == Resize((64, 32), keep_ratio=True, min_size=40)
    multiple, _ = pipeline_of({"type": "Resize"}, {"type": "ResizeToMultiple"}, img_scale=(65, 32))
    assert multiple.resize == Resize((65, 32), keep_ratio=True, multiple_of=32)
    assert multiple.nominal_size == (32, 96)
    plain, _ = pipeline_of({"type": "Resize", "img_scale": (64, 32), "ratio_range": (0.5, 0.5)}, NORMALISE)
    assert plain.resize == Resize((32, 16), keep_ratio=True)
    assert pipeline_of(NORMALISE)[0].resize is None
    assert pipeline_of({"type": "Resize"}, img_scale=[64, 32])[0].resize.scale == (64, 32), (
        "lists, as in JSON"
    )


def test_ratios_count_beside_one_scale_and_not_beside_a_list_of_one():
    """As mmseg has it: only a tuple is multiplied."""
    import_mmseg()
    from mmseg.datasets.pipelines import MultiScaleFlipAug

    for scale in ((300, 200), [(300, 200)]):
        own = MultiScaleFlipAug(transforms=[], img_scale=scale, img_ratios=[0.5]).img_scale
        ours, warnings = pipeline_of({"type": "Resize"}, img_scale=scale, img_ratios=[0.5])
        assert [ours.resize.scale] == own
        assert warnings == []


def test_an_infinite_long_edge_is_no_limit():
    import_mmseg()
    import mmcv

    result, _ = pipeline_of({"type": "Resize"}, img_scale=(float("inf"), 512))
    assert result.nominal_size is None
    for size in ((40, 30), (30, 4000), (700, 700)):  # (width, height)
        expected = mmcv.rescale_size(size, (float("inf"), 512))
        assert mmcv.rescale_size(size, result.resize.scale) == expected
        meta = ModelMeta(name="m", resize=result.resize)
        array = Preprocessor(meta)(np.zeros((size[1], size[0], 3), np.uint8), "image").array
        assert array.shape == (3, expected[1], expected[0])


@pytest.mark.parametrize(
    ("step", "scale"),
    [
        ({"keep_ratio": False}, (float("inf"), 512)),
        ({}, (float("inf"), float("inf"))),
        ({}, (float("nan"), 512)),
        ({}, (0, 512)),
        ({"min_size": 0}, (64, 32)),
    ],
)
def test_sizes_that_are_none(step, scale):
    with pytest.raises(ModelError, match="test pipeline"):
        pipeline_of({"type": "Resize", **step}, img_scale=scale)


@pytest.mark.parametrize(
    "change", [{"std": [1, 0, 1]}, {"std": [1, float("inf"), 1]}, {"mean": [float("nan"), 0, 0]}]
)
def test_a_normalisation_that_gives_no_numbers(change):
    with pytest.raises(ModelError, match=r"normalises with a (std|mean)"):
        pipeline_of(NORMALISE | change)


def test_padding_forms():
    several, warnings = pipeline_of({"type": "Pad", "size_divisor": 8, "pad_val": (7, 7, 7)})
    assert (several.pad, warnings) == (Pad(divisor=8, value=7.0), [])
    _, warnings = pipeline_of({"type": "Pad", "size_divisor": 8, "pad_val": (7, 8, 9)})
    assert "each channel" in warnings[0]
    with pytest.raises(ModelError, match="no size in pixels"):
        pipeline_of({"type": "Pad", "size_divisor": 0})
    assert pipeline_of({"type": "Pad", "size_divisor": 32})[0].pad == Pad(divisor=32)
    assert pipeline_of({"type": "Pad", "size": (8, 9), "pad_val": 7})[0].pad == Pad(size=(8, 9), value=7.0)


def test_no_normalisation_keeps_the_order_of_the_file():
    result, _ = pipeline_of({"type": "Resize"}, img_scale=(8, 8))
    assert (result.mean, result.std, result.channel_order) == ((0.0,) * 3, (1.0,) * 3, "bgr")
    assert pipeline_of(NORMALISE)[0].channel_order == "rgb"
    assert pipeline_of({**NORMALISE, "to_rgb": False})[0].channel_order == "bgr"


def test_what_is_not_done_at_test_time_is_said():
    _, warnings = pipeline_of({"type": "Resize"}, img_scale=(64, 32), img_ratios=[0.5, 1.0, 1.5], flip=True)
    assert warnings == [
        "the test pipeline augments (3 scales and flips): only the scale 64x32 without flips is used"
    ]
    first, warnings = pipeline_of({"type": "Resize"}, img_scale=[(64, 32), (32, 16)])
    assert first.resize.scale == (64, 32)
    assert "2 scales" in warnings[0]
    _, warnings = pipeline_of({"type": "CLAHE"}, NORMALISE, {"type": "MySecret"})
    assert warnings == ["the test pipeline has transforms that are left out: CLAHE, MySecret"]
    _, warnings = pipeline_of({"type": "Pad", "size_divisor": 2}, NORMALISE)
    assert "order" in warnings[0]
    twice, warnings = pipeline_of({"type": "Normalize", "mean": [9] * 3, "std": [9] * 3}, NORMALISE)
    assert warnings == ["the test pipeline has Normalize more than once: only the last is used"]
    assert twice.mean == (1.0, 2.0, 3.0)
    _, warnings = pipeline_of({"type": "Resize", "img_scale": [(8, 8), (9, 9)]})
    assert "at random" in warnings[0]


def test_images_of_other_channels_are_refused():
    with pytest.raises(ModelError, match="1 values of mean"):
        pipeline_of({"type": "Normalize", "mean": [1], "std": [1]})


@pytest.mark.slow
def test_every_config_of_mmseg(mim_configs):
    """Names, colours, preprocessing and inference of all of them, with mmcv lite."""
    import_mmseg()
    paths = sorted(path for path in mim_configs.glob("*/*.py") if path.parent.name != "_base_")
    assert len(paths) > 600
    told = {}
    for path in paths:
        reporter = QuietReporter()
        config = read_config(str(path))
        head = head_of(config.model)
        meta = read_meta(config, str(path), head=head, reporter=reporter)
        assert runnable_model(config, str(path)).get("pretrained") is None
        assert len(meta.classes) == meta.out_channels == head.num_classes
        assert meta.resize is not None
        assert meta.input_size is not None
        assert meta.inference.mode == config.model.test_cfg.mode
        assert ModelMeta.from_json(meta.to_json()) == meta
        if reporter.warnings:
            told[path.stem] = reporter.warnings
    unnamed = [name for name, warnings in told.items() if "names the classes" in warnings[-1]]
    assert unnamed == ["deeplabv3plus_r101_512x512_C-CM+C-WO-NatOcc-SOT"]
    assert len(told) == 4
    assert all("augments (6 scales and flips)" in warnings[0] for warnings in told.values())
