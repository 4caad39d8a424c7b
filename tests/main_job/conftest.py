"""A tiny mmseg project: a config, a checkpoint, a folder of images and masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segplug import Segplug

CONFIG = """
classes = ('road', 'building', 'sky', 'car')
palette = [[128, 64, 128], [70, 70, 70], [70, 130, 180], [0, 0, 142]]
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, num_stages=2,
                  strides=(1, 2), dilations=(1, 1), out_indices=(0, 1), norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1,
                     num_classes=4, norm_cfg=norm_cfg, align_corners=False),
    auxiliary_head=dict(type='FCNHead', in_channels=8, in_index=0, channels=8, num_convs=1,
                        num_classes=4, norm_cfg=norm_cfg, align_corners=False),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(64, 48), flip=False, transforms=[
        dict(type='Resize', keep_ratio=False),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(test=dict(
    type='CustomDataset', data_root='data', img_dir='images', ann_dir='masks',
    img_suffix='.png', classes=classes, palette=palette, pipeline=test_pipeline))
"""


@dataclass(frozen=True)
class Project:
    """Paths of the project. ``data_options`` are the flags that make the config use its images."""

    folder: Path

    @property
    def config(self) -> str:
        return str(self.folder / "tiny.py")

    @property
    def checkpoint(self) -> str:
        return str(self.folder / "tiny.pth")

    @property
    def images(self) -> Path:
        return self.folder / "data" / "images"

    @property
    def masks(self) -> Path:
        return self.folder / "data" / "masks"

    @property
    def data_options(self) -> tuple[str, ...]:
        return ("--cfg-options", f"data.test.data_root={self.folder / 'data'}")


def make_project(folder: Path) -> Project:
    """Write config, checkpoint and data, the same every time."""
    project = Project(folder)
    Path(project.config).write_text(CONFIG)
    rng = np.random.default_rng(1)
    project.images.mkdir(parents=True)
    project.masks.mkdir(parents=True)
    for number in range(4):
        blocks = rng.integers(0, 4, (6, 8), dtype=np.uint8)
        mask = np.kron(blocks, np.ones((8, 8), dtype=np.uint8))
        image = (mask[..., None] * 60 + rng.integers(0, 30, (48, 64, 3))).astype(np.uint8)
        mask[0, :3] = 255
        cv2.imwrite(str(project.images / f"{number}.png"), image)
        cv2.imwrite(str(project.masks / f"{number}.png"), mask)
    torch.manual_seed(0)
    segmentor = Segplug().load_model(project.config).module.segmentor
    for module in segmentor.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.nn.init.normal_(segmentor.decode_head.conv_seg.weight, 0, 1)
    meta = {
        "CLASSES": ("road", "building", "sky", "car"),
        "PALETTE": [[128, 64, 128], [70, 70, 70], [70, 130, 180], [0, 0, 142]],
    }
    torch.save({"meta": meta, "state_dict": segmentor.state_dict()}, project.checkpoint)
    return project


@pytest.fixture(scope="session")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project for all tests that change nothing in it."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def dynamic_onnx(shared_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's network, exported once with free sizes."""
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    sp = Segplug()
    model = sp.load_model(shared_project.config, checkpoint=shared_project.checkpoint)
    sp.export("onnx", model, output=path, dynamic=True)
    return path


@pytest.fixture
def project(tmp_path: Path, shared_project: Project) -> Project:
    """A copy of the project that a test may change."""
    import shutil

    return Project(Path(shutil.copytree(shared_project.folder, tmp_path / "project")))
