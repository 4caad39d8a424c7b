"""Models, optimizers, learning rates, hooks of 0.x, translated."""

from __future__ import annotations

from typing import Any

import pytest
from segplug_mmseg.v1.upgrade import Upgraded, upgrade

from segplug.errors import ModelError

TRAIN = {"train": {"type": "CustomDataset", "img_dir": "images", "ann_dir": "masks", "pipeline": []}}


def training(**settings: Any) -> Upgraded:
    """A config with training data, an optimizer and 100 iterations."""
    return upgrade(
        {
            "data": TRAIN,
            "optimizer": {"type": "SGD", "lr": 0.01},
            "runner": {"type": "IterBasedRunner", "max_iters": 100},
            **settings,
        },
        "old.py",
    )


def test_the_network_is_as_it_was_but_for_packages_that_moved() -> None:
    dice = {"type": "DiceLoss", "loss_weight": 3}
    model = {
        "type": "EncoderDecoder",
        "pretrained": "somewhere",
        "backbone": {"type": "mmcls.ConvNeXt", "arch": "tiny"},
        "decode_head": [
            {"type": "FCNHead", "loss_decode": {"type": "DiceLoss", "smooth": 1, "loss_weight": 3}}
        ],
    }
    custom = {"imports": "mmcls.models", "allow_failed_imports": False}
    found = upgrade({"model": model, "custom_imports": custom, "test_cfg": {"mode": "whole"}}, "old.py")
    assert found.settings["model"] == {
        "type": "EncoderDecoder",
        "data_preprocessor": {"type": "SegDataPreProcessor"},
        "pretrained": "somewhere",
        "backbone": {"type": "mmpretrain.ConvNeXt", "arch": "tiny"},
        "decode_head": [{"type": "FCNHead", "loss_decode": dice}],
        "test_cfg": {"mode": "whole"},
    }
    assert found.settings["custom_imports"] == {
        "imports": ["mmpretrain.models"],
        "allow_failed_imports": False,
    }
    (line,) = found.on_prediction
    assert line.startswith("ConvNeXt of mmpretrain normalises before each downsampling with an eps of 1e-6")
    assert found.on_training == (
        "DiceLoss has no `smooth` in 1.x: it is left out",
        "DiceLoss of 1.x is computed with another formula",
    )


def test_modules_of_the_user_are_named() -> None:
    found = upgrade({"model": {}, "custom_imports": {"imports": ["mine"]}}, "old.py")
    assert found.on_prediction == ("custom_imports are as they were: mine must be written for 1.x",)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"type": "OptimWrapper", "clip_grad": None}),
        ({"optimizer_config": {"grad_clip": {"max_norm": 1}}}, {"clip_grad": {"max_norm": 1}}),
        ({"fp16": {"loss_scale": "dynamic"}}, {"type": "AmpOptimWrapper", "loss_scale": "dynamic"}),
        (
            {"fp16": {}, "optimizer_config": {"type": "Fp16OptimizerHook", "loss_scale": "dynamic"}},
            {"type": "AmpOptimWrapper", "loss_scale": "dynamic"},
        ),
        (
            {"optimizer_config": {"type": "GradientCumulativeFp16OptimizerHook", "cumulative_iters": 2}},
            {"type": "AmpOptimWrapper", "loss_scale": 512.0, "accumulative_counts": 2},
        ),
        (
            {"optimizer": {"type": "AdamW", "paramwise_cfg": {"a": 1}, "constructor": "Mine"}},
            {"optimizer": {"type": "AdamW"}, "paramwise_cfg": {"a": 1}, "constructor": "Mine"},
        ),
    ],
)
def test_optimizers(settings: dict[str, Any], expected: dict[str, Any]) -> None:
    found = training(**settings)
    assert {key: found.settings["optim_wrapper"][key] for key in expected} == expected
    assert not found.on_training


def test_loops_count_as_the_runner_did() -> None:
    found = training(evaluation={"interval": 10, "start": 5}).settings
    assert found["train_cfg"] == {
        "type": "IterBasedTrainLoop",
        "max_iters": 100,
        "val_interval": 10,
        "val_begin": 5,
    }
    assert found["train_dataloader"]["sampler"]["type"] == "InfiniteSampler"
    found = training(runner={"type": "EpochBasedRunner", "max_epochs": 3}).settings
    assert found["train_cfg"] == {"type": "EpochBasedTrainLoop", "max_epochs": 3}
    assert found["train_dataloader"]["sampler"]["type"] == "DefaultSampler"
    assert found["log_processor"] == {"by_epoch": True}


def test_hooks_logs_and_environment() -> None:
    found = training(
        checkpoint_config={"by_epoch": False, "interval": 7, "max_keep_ckpts": 2},
        evaluation={"save_best": "mIoU"},
        log_config={"interval": 3, "hooks": [{"type": "TextLoggerHook"}, {"type": "TensorboardLoggerHook"}]},
        resume_from="here.pth",
        cudnn_benchmark=True,
        seed=5,
    ).settings
    hooks = found["default_hooks"]
    assert hooks["checkpoint"] == {
        "type": "CheckpointHook",
        "by_epoch": False,
        "interval": 7,
        "max_keep_ckpts": 2,
        "save_best": "mIoU",
    }
    assert hooks["logger"]["interval"] == 3
    assert [one["type"] for one in found["vis_backends"]] == ["LocalVisBackend", "TensorboardVisBackend"]
    assert (found["load_from"], found["resume"]) == ("here.pth", True)
    assert found["env_cfg"]["cudnn_benchmark"] is True
    assert found["randomness"]["seed"] == 5


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"lr_config": {"policy": "OneCycle", "by_epoch": False}},
            "policy OneCycle has no counterpart",
        ),
        (
            {"lr_config": {"policy": "exp", "gamma": 1, "min_lr": 1, "by_epoch": False}},
            "lr_config.min_lr has no",
        ),
        ({"lr_config": {"policy": "poly"}}, "lr_config counts otherwise than the runner"),
        ({"workflow": [("train", 1), ("val", 1)]}, "workflow has more than training"),
        ({"custom_hooks": [{"type": "EMAHook"}]}, "they must be hooks of 1.x (EMAHook)"),
        ({"evaluation": {"out_dir": "x"}}, "evaluation.out_dir has no counterpart"),
        (
            {"log_config": {"hooks": [{"type": "PaviLoggerHook"}]}},
            "logger PaviLoggerHook has no",
        ),
        ({"runner": {}}, "not all are there: training is left out"),
    ],
)
def test_what_has_no_counterpart_is_named(settings: dict[str, Any], line: str) -> None:
    found = training(**settings)
    assert [one for one in found.on_training if line in one], found.on_training
    assert any(one.startswith("Training: ") for one in found.comments)


def test_a_config_that_is_none_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"old\.py cannot be upgraded .*it cannot be read"):
        upgrade({"data": [1, 2]}, "old.py")
    with pytest.raises(ModelError, match="a data set of `data` is 3, not settings with a type"):
        upgrade({"data": {"test": [3]}}, "old.py")
