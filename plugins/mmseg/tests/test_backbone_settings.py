"""What a config builds its backbone with, defaults included."""

from __future__ import annotations

import json

import pytest
from mmseg_support.small_backbones import backbone_of, weights_of, write_config
from segplug_mmseg.backbone import settings_of

from segplug import Segplug


def test_the_config_goes_before_the_defaults(tmp_path):
    config = write_config(tmp_path, "vit", num_heads=4)
    state = weights_of(backbone_of(config))
    settings = Segplug().fit_backbone(config, state).settings
    assert settings["type"] == "VisionTransformer"
    assert settings["num_heads"] == 4
    assert settings["interpolate_mode"] == "bicubic"  # of the class or the config
    assert settings["qkv_bias"] is True  # of the class alone
    assert json.loads(json.dumps(settings)) == settings


def test_the_defaults_of_parents_count_where_a_class_passes_its_settings_on(tmp_path):
    settings = settings_of(backbone_of(write_config(tmp_path, "resnet")), {"type": "ResNetV1c", "depth": 18})
    assert settings["style"] == "pytorch"


@pytest.mark.parametrize(("family", "inner"), [("stdc", "STDCNet"), ("bisenet", "ResNet")])
def test_an_inner_backbone_has_settings_of_its_own(tmp_path, family, inner):
    config = write_config(tmp_path, family)
    fitted = Segplug().fit_backbone(config, {})
    assert fitted.backbone == inner
    assert fitted.settings["type"] == inner
