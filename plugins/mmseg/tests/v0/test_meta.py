from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.meta import Head, make_meta
from segplug_mmseg.v0.config import read_config, runnable_model
from segplug_mmseg.v0.facts import read_facts

from segplug.errors import ModelError
from segplug.model import Inference, ModelMeta
from segplug.palette import random_palette
from segplug.preprocessing import ChannelOrder, Decoding, Normalize, Resize, find_steps
from segplug.progress import QuietReporter


def head_of(model: dict) -> Head:
    """The head that a config describes, without building the network."""
    head = model["decode_head"]
    head = head[-1] if isinstance(head, list) else head
    head = head if "num_classes" in head else head["kernel_generate_head"]  # K-Net wraps a plain one
    channels = head.get("out_channels") or head["num_classes"]
    threshold = head.get("threshold", 0.3) if channels == 1 else None
    return Head(head["num_classes"], channels, threshold, bool(head.get("align_corners", False)), 3)


def meta_of(path: Path, options: dict | None = None, **arguments) -> tuple[ModelMeta, list[str]]:
    reporter = QuietReporter()
    config = read_config(str(path), options)
    head = head_of(config.model)
    facts = read_facts(config, head=head, reporter=reporter)
    meta = make_meta(facts, str(path), head=head, reporter=reporter, **arguments)
    return meta, reporter.warnings


def test_the_small_config(config_file):
    meta, warnings = meta_of(config_file)
    assert warnings == []
    assert meta.name == "small"
    assert meta.classes == ("sky", "road", "car")
    assert meta.palette == ((0, 0, 255), (128, 64, 128), (255, 0, 0))
    assert (meta.in_channels, meta.decoding) == (3, Decoding())
    assert meta.preprocessing == (
        Resize(scale=(96, 64)),
        ChannelOrder((2, 1, 0)),
        Normalize((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    )
    assert (meta.tta, meta.approximations) == ((), ())
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


def test_a_head_of_one_class(config_file):
    """It still gives two labels; mmseg scores it with the names of the data set, which may be one or two."""
    options = {
        "model.decode_head.num_classes": 1,
        "data.test.classes": ["road"],
        "data.test.palette": [[9, 9, 9]],
    }
    meta, _ = meta_of(config_file, options)
    assert (meta.out_channels, meta.activation, meta.threshold) == (1, "sigmoid", 0.3)
    assert (meta.classes, meta.num_labels, meta.palette) == (("road",), 2, ((9, 9, 9),))
    two = {"data.test.classes": ["other", "road"], "data.test.palette": [[0, 0, 0], [9, 9, 9]]}
    meta, _ = meta_of(config_file, options | two)
    assert (meta.classes, meta.num_labels, len(meta.palette)) == (("other", "road"), 2, 2)
    with pytest.raises(ModelError, match="names 3 classes, the network has 1"):
        meta_of(config_file, options | {"data.test.classes": ["a", "b", "c"]})


def test_several_sigmoid_losses_are_still_a_softmax(config_file):
    """mmseg's own inference does not look at the loss."""
    meta, _ = meta_of(config_file, {"model.decode_head.loss_decode.use_sigmoid": True})
    assert (meta.out_channels, meta.activation, meta.threshold) == (3, "softmax", None)


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
    assert meta.palette == random_palette(3)  # as mmseg paints without a palette
    assert "names the classes" in warnings[0]


@pytest.mark.slow
def test_every_config_of_mmseg(mim_configs):
    """Names, colours, preprocessing and inference of all of them, with mmcv lite."""
    import_mmseg()
    paths = sorted(path for path in mim_configs.glob("*/*.py") if path.parent.name != "_base_")
    assert len(paths) > 600
    told = {}
    views = {}
    for path in paths:
        reporter = QuietReporter()
        config = read_config(str(path))
        head = head_of(config.model)
        facts = read_facts(config, head=head, reporter=reporter)
        meta = make_meta(facts, str(path), head=head, reporter=reporter)
        assert runnable_model(config, str(path)).get("pretrained") is None
        assert len(meta.classes) == meta.out_channels == head.num_classes
        assert len(find_steps(meta.preprocessing, Resize)) >= 1
        assert meta.approximations == ()
        assert meta.input_size is not None
        assert meta.inference.mode == config.model.test_cfg.mode
        assert ModelMeta.from_json(meta.to_json()) == meta
        if reporter.warnings:
            told[path.stem] = reporter.warnings
        if meta.tta:
            views[path.stem] = len(meta.tta)
    assert {name: "names the classes" in warnings[0] for name, warnings in told.items()} == {
        "deeplabv3plus_r101_512x512_C-CM+C-WO-NatOcc-SOT": True
    }
    assert len(views) == 4
    assert set(views.values()) == {12}, "6 scales, each with and without a flip"
