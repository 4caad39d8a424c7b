"""Small real networks from mmseg's own configs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mmseg_support.edited import editor

CONFIG = """
default_scope = 'mmseg'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[1., 2., 3.], std=[4., 5., 6.], bgr_to_rgb=True,
        pad_val=0, seg_pad_val=255),
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
    dict(type='Resize', scale=(96, 64), keep_ratio=False),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type='BaseSegDataset', data_root='nowhere',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        img_suffix='.png', seg_map_suffix='.png',
        metainfo=dict(
            classes=('sky', 'road', 'car'), palette=[[0, 0, 255], [128, 64, 128], [255, 0, 0]]),
        pipeline=test_pipeline))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
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
