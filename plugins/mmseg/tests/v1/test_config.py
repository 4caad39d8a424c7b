"""Configs of mmengine, of both styles: read, overridden, prepared for inference; and what is wrong."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.v1.config import read_config, runnable_model
from segplug_mmseg.v1.generation import build_segmentor

from segplug.cli.root import run_command_line
from segplug.errors import ModelError, UsageError
from segplug.progress import QuietReporter

NEW_STYLE = """
import os
from mmengine.config import read_base
from mmseg.models import CrossEntropyLoss, EncoderDecoder, FCNHead, MobileNetV2, SegDataPreProcessor
from torch import nn

with read_base():
    from .runtime import *

name = os.path.basename(__file__)
norm_cfg = dict(type=nn.SyncBatchNorm, requires_grad=True)
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(type=SegDataPreProcessor, mean=[1.], std=[2.]),
    backbone=dict(type=MobileNetV2, widen_factor=0.25, out_indices=(5, 6), norm_cfg=norm_cfg),
    decode_head=dict(
        type=FCNHead, in_channels=80, in_index=1, channels=8, num_convs=1, num_classes=3,
        norm_cfg=norm_cfg, loss_decode=dict(type=CrossEntropyLoss)),
    test_cfg=dict(mode='whole'))
"""


@pytest.fixture
def new_style(tmp_path):
    """A config with classes in place of strings, and one that it reads with ``read_base()``."""
    (tmp_path / "runtime.py").write_text("default_scope = 'mmseg'\nlr = 0.1\n")
    path = tmp_path / "new_style.py"
    path.write_text(NEW_STYLE)
    return path


def test_bases_and_their_variables(tmp_path):
    (tmp_path / "base.py").write_text(
        "size = (4, 8)\nmodel = dict(type='X', depth=1, stages=dict(a=1, b=2))\n"
    )
    path = tmp_path / "whole.py"
    path.write_text(
        "_base_ = './base.py'\nscale = {{_base_.size}}\n"
        "model = dict(depth=2, stages=dict(_delete_=True, c=len(_base_.size)))\n"
    )
    config = read_config(str(path))
    assert config.scale == (4, 8)
    assert config.model == {"type": "X", "depth": 2, "stages": {"c": 2}}


@pytest.mark.parametrize("suffix", [".json", ".yml"])
def test_configs_that_are_no_python(tmp_path, suffix):
    path = tmp_path / f"c{suffix}"
    path.write_text('{"default_scope": "mmseg", "model": {"type": "X"}, "folder": "{{ fileDirname }}"}')
    config = read_config(str(path))
    assert config.model.type == "X"
    assert config.folder == str(tmp_path)


def test_a_new_style_config_imports_its_classes_and_python_itself(new_style):
    config = read_config(str(new_style))
    from mmseg.models import EncoderDecoder, MobileNetV2

    assert config.lr == 0.1
    assert config.name == "new_style.py"
    assert config.model.type is EncoderDecoder
    assert config.model.backbone.type is MobileNetV2


def test_a_module_of_python_makes_no_new_style_config(tmp_path):
    (tmp_path / "base.py").write_text("model = dict(type='X')\n")
    path = tmp_path / "c.py"
    path.write_text(
        "import os\nfrom pathlib import Path\n_base_ = ['base.py']\nhere = os.path.join('a', 'b')\n"
    )
    config = read_config(str(path))
    assert config.here == "a/b"
    assert config.model.type == "X"


def test_new_style_and_old_style_build_the_same_network(new_style, config_file):
    networks = []
    for path in (new_style, config_file):
        config = read_config(str(path))
        networks.append(
            build_segmentor(runnable_model(config, str(path)), str(path), QuietReporter(), initialise=False)
        )
    shapes = [{name: tuple(t.shape) for name, t in net.state_dict().items()} for net in networks]
    assert shapes[0] == shapes[1]


def test_overrides_are_merged_as_mmengine_does(config_file, new_style):
    import_mmseg()
    from mmengine.config import Config

    options = {
        "model.decode_head.channels": 4,
        "test_pipeline.1.scale": (32, 16),
        "test_pipeline.0": {"type": "Other"},
        "test_dataloader.dataset.metainfo": {"_delete_": True, "classes": ["a"]},
        "model.backbone.type": "Own",
        "model.backbone._delete_": True,
        "brand.new": [1, 2],
    }
    expected = Config.fromfile(str(config_file))
    expected.merge_from_dict(options)
    assert read_config(str(config_file), options).to_dict() == expected.to_dict()
    assert expected.model.backbone == {"type": "Own"}
    config = read_config(
        str(new_style), {"model.backbone.widen_factor": "0.5", "model.decode_head.type": "PSPHead"}
    )
    assert config.model.backbone.widen_factor == 0.5
    assert config.model.decode_head.type == "PSPHead"


@pytest.mark.parametrize("key", ["test_pipeline.9.scale", "model.type.x"])
def test_an_override_that_cannot_be_applied_names_itself(config_file, key):
    with pytest.raises(UsageError, match=f"--cfg-options {key}=1: "):
        read_config(str(config_file), {"model.depth": "1", key: "1"})


def test_a_setting_of_0x_is_refused_where_nothing_reads_it(edited_config):
    options = {"data.test.data_root": "elsewhere"}
    with pytest.raises(UsageError, match=r"data.test.data_root: .* is a config of mmsegmentation 1.x"):
        read_config(str(edited_config()), options)
    own = edited_config(add="data = dict(test=dict(data_root='here'))\n")
    assert read_config(str(own), options).data.test.data_root == "elsewhere"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = dict(\n", r"SyntaxError: '\(' was never closed, in line 1 of own.py"),
        ("x = 1\nmodel = undefined_name", "name 'undefined_name' is not defined, in line 2 of own.py"),
        ("_base_ = ['missing.py']", "missing.py"),
        ("x = 1\nraise SystemExit(3)", "SystemExit: 3, in line 2 of own.py"),
        ("x = {{_base_.gone}}", "KeyError: .*gone.*, in own.py"),
        ("_base_ = 'own.py'", "its code or a base leads back to itself"),
        ("filename = 1", "filename is reserved"),
        ("x = '{{$SEGPLUG_NOT_SET:}}'", "SEGPLUG_NOT_SET"),
        (
            "from mmengine.config import read_base\nwith read_base():\n    from .gone import *",
            "gone.py not found",
        ),
        (
            "from torch import nn\nx = nn.ReLU()",
            "RuntimeError: a class that a new-style config imports .* line 2 of",
        ),
        ("custom_imports = dict(imports=['no.such_one'])", "`custom_imports`: .* No module named 'no'"),
        (
            "custom_imports = dict(import_=['x'])",
            r"`custom_imports` must be dict\(imports=\['a_module'\]\), not ",
        ),
        ("custom_imports = ['x']", r"`custom_imports` must be dict\(imports=\['a_module'\]\), not "),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(tmp_path, monkeypatch, text, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(ModelError, match=f"^cannot read the config own.py: .*{reason}") as caught:
        read_config("own.py")
    assert "\n" not in str(caught.value)
    from mmengine.config import ConfigDict

    assert not ConfigDict.lazy


def test_an_interrupt_is_no_error_of_the_config(tmp_path):
    (tmp_path / "own.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(9)"
    )
    with pytest.raises(KeyboardInterrupt):
        read_config(str(tmp_path / "own.py"))


def test_a_class_that_is_not_there_says_what_to_do(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(
        "from no_such_package.nets import Net\nmodel = dict(type='EncoderDecoder', backbone=dict(type=Net))"
    )
    config = read_config(str(path))  # what is not used need not be there
    with pytest.raises(ModelError, match=r"cannot read the model of .*line 1 for No module named") as caught:
        runnable_model(config, str(path))
    assert "PYTHONPATH" in str(caught.value.hint)


def test_modules_are_imported_from_the_search_path(tmp_path, monkeypatch):
    (tmp_path / "own_nets_of_a_test.py").write_text("loaded = True")
    path = tmp_path / "c.py"
    path.write_text("custom_imports = dict(imports=['own_nets_of_a_test'], allow_failed_imports=False)")
    monkeypatch.syspath_prepend(str(tmp_path))
    read_config(str(path))
    assert sys.modules.pop("own_nets_of_a_test").loaded
    (tmp_path / "broken_of_a_test.py").write_text("raise RuntimeError('boom\\nbang')")
    path.write_text("custom_imports = dict(imports=['broken_of_a_test'])")
    with pytest.raises(ModelError, match="`custom_imports`: RuntimeError: boom bang"):
        read_config(str(path))
    path.write_text("custom_imports = dict(imports=['gone_of_a_test'], allow_failed_imports=True)")
    reporter = QuietReporter()
    read_config(str(path), reporter=reporter)
    assert reporter.warnings == ["gone_of_a_test failed to import and is ignored."]


def test_yaml_runs_no_code(tmp_path):
    made = tmp_path / "made"
    (tmp_path / "own.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{made}']")
    (tmp_path / "whole.py").write_text("_base_ = 'own.yaml'")
    for name in ("own.yaml", "whole.py"):
        with pytest.raises(ModelError, match="plain data only"):
            read_config(str(tmp_path / name))
    assert not made.exists()
    (tmp_path / "own.yaml").write_text("model: {type: X, size: !!python/tuple [1, 2]}")
    assert read_config(str(tmp_path / "own.yaml")).model.size == (1, 2)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("mmyolo.Thing", "uses `mmyolo.Thing`, and mmyolo is not installed"),
        ("mmaction.Thing", "uses `mmaction.Thing`, and mmaction2 is not installed"),
    ],
)
def test_a_class_of_a_package_that_is_not_installed_names_it(edited_config, kind, words):
    path = edited_config(("'MobileNetV2'", f"'{kind}'"))
    with pytest.raises(ModelError, match=words) as caught:
        runnable_model(read_config(str(path)), str(path))
    assert str(caught.value.hint).startswith("pip install mm")


def test_a_config_without_a_model(tmp_path):
    path = tmp_path / "data.py"
    path.write_text("test_dataloader = dict()")
    with pytest.raises(ModelError, match="has no `model` with a `type`"):
        runnable_model(read_config(str(path)), str(path))


def test_the_model_to_build_downloads_nothing_and_has_no_training_parts(edited_config):
    path = edited_config(
        (
            "widen_factor=0.25",
            "init_cfg=[dict(type='Kaiming', layer='Conv2d'), dict(type='Pretrained', checkpoint='w')], "
            "widen_factor=0.25, text=dict(checkpoint='https://no'), timm=dict(type='TIMMBackbone')",
        ),
        (
            "num_convs=1, num_classes=3,\n        norm_cfg=norm_cfg, align",
            "init_cfg=dict(type='Pretrained_Part', checkpoint='w'), num_convs=1, num_classes=3,\n align",
        ),
        (
            "dict(type='CrossEntropyLoss')),\n    auxiliary",
            "dict(type='CrossEntropyLoss', class_weight='w.npy')),\n    auxiliary",
        ),
        ("pad_val=0,", "pad_val=0, batch_augments=[dict(type='Mixup')],"),
        ("type='SyncBN'", "type='MMSyncBN'"),
    )
    config = read_config(str(path))
    model = runnable_model(config, str(path))
    assert model.pretrained is None
    assert model.backbone.init_cfg == [{"type": "Kaiming", "layer": "Conv2d"}]
    assert model.backbone.text.checkpoint is None
    assert model.backbone.timm.pretrained is False
    assert model.decode_head.init_cfg is None
    assert model.decode_head.loss_decode.class_weight is None
    assert model.backbone.norm_cfg.type == "SyncBN"
    assert "batch_augments" not in model.data_preprocessor
    assert model.auxiliary_head is None
    assert model.train_cfg is None
    assert runnable_model(config, str(path), for_training=True).auxiliary_head.type == "FCNHead"
    assert config.model.backbone.norm_cfg.type == "MMSyncBN", "the config itself stays as it was read"


def test_a_network_that_loads_a_checkpoint_by_itself_downloads_nothing(edited_config, tmp_path):
    import_mmseg()
    from mmengine.runner import CheckpointLoader
    from mmseg.registry import MODELS

    class Loads(MODELS.get("MobileNetV2")):
        def __init__(self, address, **options):
            super().__init__(**options)
            CheckpointLoader.load_checkpoint(address)

    MODELS.register_module(name="LoadsOfATest", module=Loads, force=True)
    path = edited_config(("type='MobileNetV2'", "type='LoadsOfATest', address='https://example.org/x.pth'"))
    with pytest.raises(ModelError, match=r"wants to download https://example\.org/x\.pth") as caught:
        build_segmentor(
            runnable_model(read_config(str(path)), str(path)), str(path), QuietReporter(), initialise=False
        )
    assert "\n" not in str(caught.value)


def test_building_is_quiet_and_leaves_no_scope_behind(config_file, capfd):
    import_mmseg()
    from mmengine.logging import MMLogger
    from mmengine.registry import DefaultScope

    def scope():
        current = DefaultScope.get_current_instance()  # mmengine puts a copy back
        return current and current.scope_name

    before = scope()
    logger = MMLogger.get_current_instance()
    reporter = QuietReporter()
    config = read_config(str(config_file), reporter=reporter)
    build_segmentor(runnable_model(config, "c.py"), "c.py", reporter, initialise=True)
    assert reporter.warnings == []
    assert capfd.readouterr() == ("", "")
    assert scope() == before or before is None
    assert logger.filters == []


def test_what_mmengine_warns_of_reaches_the_reporter_and_not_stdout(tmp_path, capfd):
    path = tmp_path / "c.py"
    path.write_text(
        "print('said by the config')\nfrom mmengine.config import read_base\nimport logging\n"
        "model = dict(type='X')\n"
    )
    import_mmseg()
    from mmengine.logging import print_log
    from segplug_mmseg.compat import report_warnings

    reporter = QuietReporter()
    with report_warnings(reporter):
        print_log("this is\nodd", logger="current", level=logging.WARNING)
        print_log("this is not", logger="current")
    assert reporter.warnings == ["this is odd"]
    read_config(str(path))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "said by the config\n"


def test_a_config_of_0x_is_upgraded_with_a_note(tmp_path):
    notes = []

    class Notes(QuietReporter):
        def note(self, message):
            notes.append(message)

    path = tmp_path / "old.py"
    path.write_text(
        "model = dict(type='EncoderDecoder', backbone=dict(type='MobileNetV2'), decode_head=dict("
        "type='FCNHead', in_channels=8, channels=8, num_classes=3), test_cfg=dict(mode='whole'))\n"
        "test_pipeline = [dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', img_scale=(96, 64), "
        "flip=False, transforms=[dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), "
        "dict(type='Normalize', mean=[1., 2., 3.], std=[4., 5., 6.], to_rgb=True), "
        "dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])])]\n"
        "data = dict(test=dict(type='CustomDataset', data_root='d', img_dir='i', ann_dir='a', "
        "pipeline=test_pipeline))\n"
    )
    config = read_config(str(path), {"data.test.data_root": "elsewhere"}, reporter=Notes())
    assert config.model.data_preprocessor.mean == [1.0, 2.0, 3.0]
    assert config.test_dataloader.dataset.data_root == "elsewhere"
    assert len(notes) == 1
    assert "is a config of mmsegmentation 0.x" in notes[0]
    assert os.path.exists(config.filename)


@pytest.mark.parametrize("kind", ["'DepthEstimator'", "'mmseg.DepthEstimator'", "DepthEstimator"])
def test_a_depth_estimator_is_named(tmp_path, kind):
    path = tmp_path / "depth.py"
    path.write_text(f"from mmseg.models import DepthEstimator\nmodel = dict(type={kind})\n")
    with pytest.raises(ModelError, match=r"depth\.py is a depth estimator \(DepthEstimator\): it gives dist"):
        runnable_model(read_config(str(path)), str(path))


PRINTING = """
from mmengine.logging import MMLogger, print_log
from mmseg.models.backbones import MobileNetV2

class Printing(MobileNetV2):
    def forward(self, x):
        print("of the network")
        print_log("of mmengine")
        MMLogger.get_instance("printing").warning("of a logger")
        return super().forward(x)
"""


def test_what_a_network_prints_is_no_part_of_the_json(edited_config, tmp_path, monkeypatch, capfd):
    (tmp_path / "printing_of_a_test.py").write_text(PRINTING)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = edited_config(("type='MobileNetV2'", "type='printing_of_a_test.Printing'"))
    assert run_command_line(["analyze", "flops", str(path), "--shape", "64", "--json"]) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out)
    for words in ("of the network", "of mmengine", "of a logger"):
        assert words in printed.err
