from __future__ import annotations

import sys
import time

import pytest
from segplug_mmseg.explain import explained
from segplug_mmseg.recognise import confidence
from segplug_mmseg.v0.config import read_config, runnable_model

from segplug.errors import ModelError, UsageError
from segplug.providers import Confidence


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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise SystemExit(3)", "SystemExit: 3, in line 2 of"),
        ("raise GeneratorExit", "GeneratorExit, in line 2 of"),
        ("raise type('Own', (BaseException,), {})('why')", "Own: why, in line 2 of"),
        ("raise type('Stop', (KeyboardInterrupt,), {})", "Stop, in line 2 of"),
        ("def f(): f()\nf()", "leads back to itself (RecursionError: maximum recursion depth exceeded"),
        ("model = [0] * 10 ** 12", "MemoryError, in line 2 of"),
    ],
)
@pytest.mark.parametrize("is_base", [False, True])
def test_whatever_a_config_raises_is_one_line_with_its_place(tmp_path, monkeypatch, text, reason, is_base):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(f"x = 1\n{text}\n")
    (tmp_path / "whole.py").write_text("_base_ = 'own.py'")
    name = "whole.py" if is_base else "own.py"
    with pytest.raises(ModelError) as caught:
        read_config(name)
    assert f"cannot read the config {name}: " in str(caught.value)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("of own.py")


def test_an_interrupt_is_none_of_its_errors(tmp_path):
    (tmp_path / "own.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(9)"
    )
    with pytest.raises(KeyboardInterrupt):
        read_config(str(tmp_path / "own.py"))


def test_a_base_that_is_the_config_itself(tmp_path):
    (tmp_path / "own.py").write_text("_base_ = 'own.py'")
    with pytest.raises(ModelError, match="its code or a base leads back to itself"):
        read_config(str(tmp_path / "own.py"))


def test_a_class_that_ends_the_process_is_an_error(tmp_path):
    with (
        pytest.raises(ModelError, match="cannot do it: SystemExit: 0"),
        explained(ModelError, "cannot do it"),
    ):
        raise SystemExit(0)


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
@pytest.mark.parametrize("is_base", [False, True])
def test_a_yaml_file_runs_no_code(tmp_path, suffix, is_base):
    made = tmp_path / "made"
    hostile = tmp_path / f"own{suffix}"
    hostile.write_text(f"model: !!python/object/apply:os.mkdir ['{made}']")
    path = hostile
    if is_base:
        path = tmp_path / "whole.py"
        path.write_text(f"_base_ = '{hostile.name}'")
    with pytest.raises(
        ModelError, match=r"plain data only, .* 'tag:yaml.org,2002:python/object/apply:os.mkdir'"
    ):
        read_config(str(path))
    assert not made.exists()


def test_yaml_that_mmcv_writes_is_read(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "model: {type: X, size: !!python/tuple [1, 2]}\nother: &a [1]\nmore: *a"
    )
    config = read_config(str(tmp_path / "own.yaml"))
    assert config.model.size == (1, 2)
    assert config.more == [1]


BOMB = "\n".join(
    [
        f"a0: &a0 [{', '.join('x' * 9)}]",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)),
    ]
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "with its aliases written out it holds more than 200,000 values"),
        ("model: &a {x: *a}", "has no end"),
        ("[" * 100_000, "nested more than 100 times"),
        ("x: " + "y" * (9 << 20), "characters is not read"),
        ("model: [1, 2", "this is no YAML"),
    ],
)
def test_yaml_is_bounded(tmp_path, text, reason):
    (tmp_path / "own.yaml").write_text(text)
    start = time.monotonic()
    with pytest.raises(ModelError, match=reason):
        read_config(str(tmp_path / "own.yaml"))
    assert confidence(str(tmp_path / "own.yaml"), "model") in (Confidence.POSSIBLE, Confidence.NO)
    assert time.monotonic() - start < 30


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
    with pytest.raises(
        ModelError, match=r"config of mmsegmentation 1\.x .*, and mmsegmentation 0\.30\.0 is installed"
    ) as refused:
        read_config(str(path))
    assert refused.value.hint == 'pip install "segplug-mmseg[mmseg1]" in an environment of its own'


def test_a_pure_python_config_of_mmsegmentation_1_is_refused_without_running_it(tmp_path):
    path = tmp_path / "new_style.py"
    path.write_text("from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n")
    with pytest.raises(ModelError, match=r"mmsegmentation 1\.x \(it has `import mmengine`\)"):
        read_config(str(path))
