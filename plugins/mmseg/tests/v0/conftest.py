"""Small real networks from mmseg's own configs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mmseg_support.edited import editor

CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://never_downloaded',
    backbone=dict(type='MobileNetV2', widen_factor=0.25, out_indices=(5, 6), norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=80, in_index=1, channels=8, num_convs=1, num_classes=3,
        norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss')),
    auxiliary_head=dict(
        type='FCNHead', in_channels=80, in_index=1, channels=8, num_convs=1, num_classes=3,
        norm_cfg=norm_cfg, loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(96, 64), flip=False, transforms=[
        dict(type='Resize', keep_ratio=False),
        dict(type='RandomFlip'),
        dict(type='Normalize', mean=[1., 2., 3.], std=[4., 5., 6.], to_rgb=True),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(test=dict(
    type='CustomDataset', data_root='nowhere', img_dir='images', ann_dir='masks',
    img_suffix='.png', seg_map_suffix='.png', classes=('sky', 'road', 'car'),
    palette=[[0, 0, 255], [128, 64, 128], [255, 0, 0]], pipeline=test_pipeline))
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A small FCN with synchronised norms, an auxiliary head and three classes."""
    path = tmp_path / "small.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def edited_config(tmp_path: Path) -> Callable[..., Path]:
    """The small config with words replaced; each has to be there."""
    return editor(CONFIG, tmp_path)
