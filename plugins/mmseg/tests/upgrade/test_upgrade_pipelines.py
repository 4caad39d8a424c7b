"""Pipelines of 0.x, translated: what they become, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from segplug_mmseg.v1.upgrade import Upgraded, upgrade

from segplug.errors import ModelError

LOADER = {"type": "LoadImageFromFile"}
NORMALIZE = {"type": "Normalize", "mean": [1, 2, 3], "std": [4, 5, 6]}
COLLECT = {"type": "Collect", "keys": ["img"]}
KEEP = {"type": "Resize", "keep_ratio": True}
FLIP = {"type": "RandomFlip"}
PACK = {"type": "PackSegInputs"}


def augmented(*transforms: Any, **settings: Any) -> dict[str, Any]:
    return {"type": "MultiScaleFlipAug", "transforms": [*transforms, COLLECT], **settings}


def of_test(*transforms: Any) -> Upgraded:
    """The config of a test pipeline."""
    test = {"type": "CustomDataset", "img_dir": "images", "ann_dir": "masks"}
    return upgrade(
        {
            "model": {"type": "EncoderDecoder"},
            "data": {"test": {**test, "pipeline": [LOADER, *transforms]}},
        },
        "old.py",
    )


def of_training(*transforms: Any) -> Upgraded:
    """The config of a training pipeline."""
    train = {"type": "CustomDataset", "img_dir": "images", "ann_dir": "masks"}
    return upgrade(
        {
            "model": {"type": "EncoderDecoder"},
            "data": {"train": {**train, "pipeline": [LOADER, *transforms, COLLECT]}},
        },
        "old.py",
    )


def resizes(pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [step for step in pipeline if "Resize" in step["type"]]


def test_masks_are_loaded_after_the_resize_and_packing_has_one_transform() -> None:
    found = of_test(augmented(KEEP, FLIP, NORMALIZE, img_scale=(40, 20))).settings
    assert found["test_pipeline"] == [
        LOADER,
        {"type": "Resize", "scale": (40, 20), "keep_ratio": True},
        {"type": "LoadAnnotations"},
        PACK,
    ]
    assert found["test_dataloader"]["dataset"]["pipeline"] == found["test_pipeline"]
    assert found["model"]["data_preprocessor"] == {
        "type": "SegDataPreProcessor",
        "mean": [1.0, 2.0, 3.0],
        "std": [4.0, 5.0, 6.0],
        "bgr_to_rgb": True,
    }
    assert "tta_pipeline" not in found


def test_the_ratio_is_kept_unless_the_config_says_otherwise() -> None:
    """It is so in 0.x alone."""
    found = of_test({"type": "Resize", "img_scale": (40, 20)}, COLLECT).settings
    assert resizes(found["test_pipeline"]) == [{"type": "Resize", "scale": (40, 20), "keep_ratio": True}]


def test_views_are_apart_with_the_weights_of_0_x() -> None:
    found = of_test(
        augmented(
            KEEP,
            FLIP,
            img_scale=(41, 21),
            img_ratios=[0.5, 1.0],
            flip=True,
            flip_direction=["horizontal", "vertical"],
        )
    )
    assert resizes(found.settings["test_pipeline"]) == [
        {"type": "Resize", "scale": (41, 21), "keep_ratio": True}
    ]
    loader, views = found.settings["tta_pipeline"]
    assert loader == LOADER
    assert views["transforms"] == [
        [{"type": "Resize", "scale": scale, "keep_ratio": True} for scale in ((20, 10), (41, 21))],
        [
            {"type": "RandomFlip", "prob": 0.0, "direction": "horizontal"},
            {"type": "RandomFlip", "prob": 0.0, "direction": "horizontal"},
            {"type": "RandomFlip", "prob": 1.0, "direction": "horizontal"},
            {"type": "RandomFlip", "prob": 1.0, "direction": "vertical"},
        ],
        [{"type": "LoadAnnotations"}],
        [PACK],
    ]
    assert found.settings["tta_model"] == {"type": "SegTTAModel"}
    assert any("with --tta alone" in line for line in found.on_prediction)


def test_a_least_edge_of_the_resize_is_another_transform() -> None:
    found = of_test(augmented({**KEEP, "min_size": 64}, img_scale=(100, 50)), COLLECT).settings
    assert resizes(found["test_pipeline"]) == [
        {"type": "ResizeShortestEdge", "scale": 64, "max_size": 2**31 - 1}
    ]


def test_sizes_relative_to_the_image_are_rounded_otherwise_and_that_is_said() -> None:
    found = of_test(augmented(KEEP, img_scale=None, img_ratios=[0.5]))
    assert resizes(found.settings["test_pipeline"]) == [
        {"type": "Resize", "scale_factor": 0.5, "keep_ratio": True}
    ]
    assert any("rounded to the nearest pixel" in line for line in found.on_prediction)


@pytest.mark.parametrize(
    ("pad", "expected"),
    [
        ({"size_divisor": 32}, {"test_cfg": {"size_divisor": 32}, "pad_val": 0}),
        ({"size": (32, 64), "pad_val": (7, 7, 7)}, {"test_cfg": {"size": (32, 64)}, "pad_val": 7}),
    ],
)
def test_padding_is_the_preprocessors(pad: dict[str, Any], expected: dict[str, Any]) -> None:
    found = of_test(augmented(KEEP, NORMALIZE, {"type": "Pad", **pad}, img_scale=(40, 20))).settings
    preprocessor = found["model"]["data_preprocessor"]
    assert {key: preprocessor[key] for key in expected} == expected
    assert not [step for step in found["test_pipeline"] if step["type"] == "Pad"]


@pytest.mark.parametrize(
    ("transforms", "problem"),
    [
        ([{"type": "Pad", "size_divisor": 32}, NORMALIZE], "has Normalize after Pad"),
        ([NORMALIZE, KEEP], "has Resize after Normalize, and 1.x normalises after the pipeline"),
        ([NORMALIZE, {"type": "CLAHE"}], "has CLAHE after Normalize"),
        ([NORMALIZE, NORMALIZE], "more than one Normalize"),
        ([{"type": "Pad", "size_divisor": 8, "pad_val": 7}], "pad_val=7, with which 0.x pads channels diff"),
        ([{"type": "Pad", "size_divisor": 8, "pad_val": (1, 2, 3)}], r"pad_val=\(1, 2, 3\)"),
        ([{"type": "Normalize", "mean": [1], "std": [2]}], "1 means and 1 deviations"),
        ([{"type": "Transpose", "keys": ["img"], "order": (1, 0, 2)}], "Transpose, which 1.x does not have"),
    ],
)
def test_images_that_would_be_prepared_differently_are_refused(
    transforms: list[dict[str, Any]], problem: str
) -> None:
    with pytest.raises(ModelError, match=rf"old\.py cannot be upgraded .*{problem}"):
        of_test(augmented(*transforms, img_scale=(40, 20)))


def test_outside_of_the_augmentation_nothing_may_be_random() -> None:
    with pytest.raises(ModelError, match="Resize of random or no scale"):
        of_test({"type": "Resize", "img_scale": [(40, 20), (80, 40)]}, COLLECT)
    with pytest.raises(ModelError, match="RandomFlip outside of MultiScaleFlipAug"):
        of_test({"type": "RandomFlip", "prob": 0.5}, COLLECT)


def test_one_mean_stands_for_one_channel() -> None:
    normalize = {"type": "Normalize", "mean": [1], "std": [2], "to_rgb": False}
    for loader, backbone in ((None, {"in_channels": 1}), ({"color_type": "grayscale"}, None)):
        step = augmented(normalize, img_scale=(40, 20))
        pipeline = [{**LOADER, **(loader or {})}, step]
        settings = {"model": {"backbone": backbone or {}}, "test_pipeline": pipeline}
        found = upgrade(settings, "old.py")
        assert found.settings["model"]["data_preprocessor"]["mean"] == [1.0]


def test_the_training_pipeline_gets_the_transforms_of_1_x() -> None:
    found = of_training(
        {"type": "LoadAnnotations", "reduce_zero_label": True},
        {"type": "Resize", "img_scale": (40, 20), "ratio_range": (0.5, 2.0)},
        {"type": "RandomCrop", "crop_size": [8, 8]},
        {"type": "RandomFlip", "flip_ratio": 1},
        NORMALIZE,
        {"type": "Pad", "size": (8, 8), "seg_pad_val": 9},
        {"type": "DefaultFormatBundle"},
    ).settings
    assert found["train_pipeline"] == [
        LOADER,
        {"type": "LoadAnnotations"},
        {"type": "RandomResize", "scale": (40, 20), "ratio_range": (0.5, 2.0), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": (8, 8)},
        {"type": "RandomFlip", "prob": 1.0},
        PACK,
    ]
    preprocessor = found["model"]["data_preprocessor"]
    assert (preprocessor["size"], preprocessor["pad_val"], preprocessor["seg_pad_val"]) == ((8, 8), 0, 9)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"img_scale": (4, 2)}, {"type": "Resize", "scale": (4, 2), "keep_ratio": True}),
        (
            {"img_scale": [(4, 2), (8, 4)], "multiscale_mode": "value"},
            {"type": "RandomChoiceResize", "scales": [(4, 2), (8, 4)], "keep_ratio": True},
        ),
        (
            {"img_scale": [(2, 4), (8, 4)], "keep_ratio": False},
            {"type": "RandomResize", "scale": [(4, 2), (8, 4)], "keep_ratio": False},
        ),
    ],
)
def test_resizes_of_the_training_pipeline(settings: dict[str, Any], expected: dict[str, Any]) -> None:
    found = of_training({"type": "Resize", **settings}).settings
    assert resizes(found["train_pipeline"]) == [expected]


def test_a_resize_of_the_training_pipeline_that_1_x_lacks_is_named() -> None:
    found = of_training({"type": "Resize", "ratio_range": (0.5, 2.0)})
    assert not resizes(found.settings["train_pipeline"])
    assert found.on_training[0] == (
        "1.x has no transform like Resize(ratio_range=(0.5, 2.0)): it is left out of the training pipeline"
    )
