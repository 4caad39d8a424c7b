"""New-style configs of mmengine, written out with names in place of classes."""

from __future__ import annotations

import pytest

from segplug import Segplug
from segplug.errors import ModelError

NEW_STYLE = """
import os
from collections import OrderedDict
import torch.nn as nn
import torch
from mmengine.config import read_base
from mmseg.datasets import CityscapesDataset, LoadAnnotations
from mmseg.models import EncoderDecoder

with read_base():
    from .base import *
    from .base import depth as base_depth

def double(x):
    return 2 * x

dataset_type = CityscapesDataset
norm_cfg = dict(type=nn.SyncBatchNorm)
model.update(type=EncoderDecoder, depth=double(base_depth))
model.update(act_cfg=dict(type=torch.nn.ReLU), norm_cfg=norm_cfg)
test_pipeline = [dict(type=LoadAnnotations), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
"""
BASE = """
from mmengine.optim import DefaultOptimWrapperConstructor
depth = 2
model = dict(backbone=dict(sizes=(1, 2)))
optim_wrapper = dict(constructor=DefaultOptimWrapperConstructor, optimizer=dict(lr=1e-3))
"""


@pytest.fixture
def new_style(tmp_path):
    """A new-style config: its path, and a function that writes one that has this at its end."""
    (tmp_path / "base.py").write_text(BASE)

    def write(add=""):
        path = tmp_path / "new_style.py"
        path.write_text(NEW_STYLE + add)
        return path

    return write


def test_a_new_style_config_loads_again_as_mmengine_writes_it(new_style, tmp_path):
    path, target = new_style(), tmp_path / "written.py"
    target.write_text(Segplug().config_text(path))
    from mmengine.config import Config
    from mmengine.registry import MODELS

    found = Config.fromfile(str(target))
    assert found.to_dict() == {
        "depth": 2,
        "model": {
            "backbone": {"sizes": (1, 2)},
            "type": "mmseg.models.EncoderDecoder",
            "depth": 4,
            "act_cfg": {"type": "torch.nn.ReLU"},
            "norm_cfg": {"type": "torch.nn.SyncBatchNorm"},
        },
        "optim_wrapper": {
            "constructor": "mmengine.optim.DefaultOptimWrapperConstructor",
            "optimizer": {"lr": 1e-3},
        },
        "base_depth": 2,
        "dataset_type": "mmseg.datasets.CityscapesDataset",
        "norm_cfg": {"type": "torch.nn.SyncBatchNorm"},
        "test_pipeline": [{"type": "mmseg.datasets.LoadAnnotations"}, {"type": "PackSegInputs"}],
        "test_dataloader": {
            "dataset": {
                "type": "mmseg.datasets.CityscapesDataset",
                "pipeline": [{"type": "mmseg.datasets.LoadAnnotations"}, {"type": "PackSegInputs"}],
            }
        },
    }
    classes = (found.model, found.model.act_cfg, found.model.norm_cfg, found.test_dataloader.dataset)
    original = Config.fromfile(str(path))
    expected = (original.model, original.model.act_cfg, original.norm_cfg, original.test_dataloader.dataset)
    assert [MODELS.get(settings.type) for settings in classes] == [settings.type for settings in expected]
    assert Segplug().config_text(target) == target.read_text()


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        (
            "model.norm_layer = nn.BatchNorm2d",
            "`model` has a class in place of a string as `norm_layer`, .*: torch",
        ),
        (
            "layers = [nn.ReLU]",
            "`layers` has a class in place of a string, which cannot be written out: torch.nn.ReLU",
        ),
        (
            "class Own: pass\nmodel.type = Own",
            "`model` has a class in place of a string as `type`, .*: <class '",
        ),
        ("model.type = nn", "`model` has a class in place of a string as `type`, .*: torch.nn"),
        (
            "from .nets import Net\nmodel.type = Net",
            "`model` has a class in place of a string as `type`, .*: Net",
        ),
        ("model.kind = OrderedDict", "as `kind`, .*: collections.OrderedDict"),
        ("model.act = double", "`model` holds a function, which cannot be written out"),
    ],
)
def test_a_class_that_no_name_can_stand_for_is_refused_by_name(new_style, add, reason):
    with pytest.raises(ModelError, match=reason) as caught:
        Segplug().config_text(new_style(add))
    assert "\n" not in str(caught.value)
