"""A tiny mmseg project, its artifacts, and an engine whose speed a test can choose."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from segplug import Segplug
from segplug.testing import randomise

CONFIG = """
classes = ('road', 'building', 'sky', 'car')
palette = [[128, 64, 128], [70, 70, 70], [70, 130, 180], [0, 0, 142]]
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, num_stages=2,
                  strides=(1, 2), dilations=(1, 1), out_indices=(0, 1), norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1,
                     num_classes=4, norm_cfg=norm_cfg, align_corners=False),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(64, 48), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(test=dict(
    type='CustomDataset', data_root='data', img_dir='images', ann_dir='masks',
    img_suffix='.png', classes=classes, palette=palette, pipeline=test_pipeline))
"""

PACED = '''
"""``infer paced``: labels are the red channel divided by 64. Each batch takes the seconds in the file."""

import json
import time

from segplug.engine import EngineSpec
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.options import NoOptions
from segplug.preprocessing import usual_steps
from segplug.providers import Backend
from segplug.testing import FunctionEngine


class Paced(Backend[NoOptions]):
    """Takes a given time."""

    hook_version = 2

    @hookimpl
    def infer(self, request):
        seconds = json.loads(request.file.read_text())["seconds"]
        meta = ModelMeta(
            name="paced one", classes=("a", "b", "c", "d"), out_channels=4, input_size=(8, 8),
            preprocessing=usual_steps((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        )

        def run(batch):
            time.sleep(seconds)
            return (batch[:, 0] // 64).astype("uint8")

        return FunctionEngine(EngineSpec(meta=meta, output="labels", backend="paced"), run)


provider = Paced()
'''


@dataclass(frozen=True)
class Project:
    """Paths of a config, its weights and its artifacts."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "tiny.py"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "tiny.pth"

    def artifact(self, suffix: str) -> Path:
        return self.folder / f"tiny{suffix}"


def make_project(folder: Path) -> Project:
    """Config, weights, ONNX and TorchScript of one network, the same every time."""
    project, session = Project(folder), Segplug()
    project.config.write_text(CONFIG)
    network = session.load_model(project.config).module
    randomise(network)
    with torch.no_grad():
        # Logits about zero on average, so that every class occurs.
        logits = network(torch.randn(4, 3, 48, 64, generator=torch.Generator().manual_seed(0)))
        network.segmentor.decode_head.conv_seg.bias -= logits.mean(dim=(0, 2, 3))
    torch.save({"state_dict": network.segmentor.state_dict()}, project.checkpoint)
    model = session.load_model(project.config, checkpoint=project.checkpoint)
    session.export("onnx", model, output=project.artifact(".onnx"), dynamic=True, output_kind="logits")
    session.export("torchscript", model, output=project.artifact(".pt"), dynamic=True)
    return project


def install_paced(folder: Path) -> Path:
    """Install the plugin as pip does; returns the folder to put on the path."""
    info = folder / "paced-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: paced\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text("[segplug.infer]\npaced = paced_engine:provider\n")
    folder.joinpath("paced_engine.py").write_text(PACED)
    words = [sys.executable, "-m", "segplug", "plugins", "manifest", "paced"]
    subprocess.run(words, env={**os.environ, "PYTHONPATH": str(folder)}, check=True, capture_output=True)
    return folder


def paced_labels(image: np.ndarray) -> np.ndarray:
    """The labels that ``infer paced`` gives for a BGR image."""
    return image[:, :, 2] // 64
