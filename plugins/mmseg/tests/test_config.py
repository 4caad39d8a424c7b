from __future__ import annotations

import sys

import pytest
from segplug_mmseg.config import read_config, runnable_model

from segplug.errors import ModelError, UsageError


def test_options_are_merged_into_dicts_and_lists_and_create_new_keys(config_file):
    options = {
        "model.decode_head.channels": "4",
        "test_pipeline.1.img_scale": "(32,16)",
        "brand.new": "[1,2]",
    }
    config = read_config(str(config_file), options)
    assert config.model.decode_head.channels == 4
    assert config.test_pipeline[1].img_scale == (32, 16)
    assert config.brand.new == [1, 2]


@pytest.mark.parametrize("key", ["test_pipeline.9.img_scale", "model.type.x"])
def test_an_option_that_cannot_be_applied_names_itself(config_file, key):
    with pytest.raises(UsageError, match=f"--cfg-options {key}=1"):
        read_config(str(config_file), {key: "1"})


def test_a_config_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="there is no config"):
        read_config(str(tmp_path / "missing.py"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.py", "model = dict(", "SyntaxError"),
        ("b.py", "model = undefined_name", "undefined_name"),
        ("c.py", "_base_ = ['missing.py']", "missing.py"),
        ("d.json", "{", "Error"),
        ("e.py", "custom_imports = dict(imports=['no_such_module_anywhere'])", "PYTHONPATH"),
        ("f.json", "[1, 2]", "Error"),
        ("g.py", "raise SystemExit(3)", "SystemExit: 3"),
        ("h.py", "custom_imports = dict(imports=['no_such_module_anywhere'])", "no_such_module_anywhere"),
        ("i.py", "raise RuntimeError", "RuntimeError"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    search_path = list(sys.path)
    with pytest.raises(ModelError) as caught:
        read_config(str(path))
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sys.path == search_path


def test_a_config_without_a_model(tmp_path):
    path = tmp_path / "data.py"
    path.write_text("data = dict()")
    with pytest.raises(ModelError, match="has no `model`"):
        runnable_model(read_config(str(path)), str(path))


def test_the_model_to_build_downloads_nothing_and_has_no_training_parts(edited_config):
    path = edited_config(
        (
            "widen_factor=0.25",
            "init_cfg=dict(type='Pretrained', checkpoint='https://nowhere'), widen_factor=0.25",
        ),
        (
            "dict(type='CrossEntropyLoss')),\n    auxiliary",
            "dict(type='CrossEntropyLoss', class_weight='w.npy')),\n    auxiliary",
        ),
        ("type='SyncBN'", "type='MMSyncBN'"),
    )
    config = read_config(str(path))
    model = runnable_model(config, str(path))
    assert model.pretrained is None
    assert model.backbone.init_cfg is None
    assert model.decode_head.loss_decode.class_weight is None
    assert model.backbone.norm_cfg.type == "SyncBN"
    assert model.auxiliary_head is None
    assert model.train_cfg is None
    assert config.model.backbone.norm_cfg.type == "MMSyncBN", "the config itself stays as it was read"


def test_settings_of_the_first_versions_are_found(edited_config):
    path = edited_config((",\n    test_cfg=dict(mode='whole')", ""), add="test_cfg = dict(mode='whole')\n")
    assert runnable_model(read_config(str(path)), str(path)).test_cfg.mode == "whole"


@pytest.mark.parametrize(
    "add",
    [
        "default_scope = 'mmseg'\n",
        "test_dataloader = dict(batch_size=1)\n",
        "model.update(data_preprocessor=dict(type='SegDataPreProcessor'))\n",
    ],
)
def test_a_config_of_mmsegmentation_1_is_refused_by_name(edited_config, add):
    path = edited_config(add=add)
    with pytest.raises(ModelError, match=r"config of mmsegmentation 1\.x") as refused:
        read_config(str(path))
    assert "mmengine" in str(refused.value.hint)


def test_a_pure_python_config_of_mmsegmentation_1_is_refused_without_running_it(tmp_path):
    path = tmp_path / "new_style.py"
    path.write_text("from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n")
    with pytest.raises(ModelError, match=r"mmsegmentation 1\.x \(it has `import mmengine`\)"):
        read_config(str(path))
