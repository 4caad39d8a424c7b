"""A training by mmengine's own Runner on made-up images, and its test; run as a program.

``python training.py FOLDER`` writes the images, a config, the folder that mmengine writes (``work``), and
``tested.pth`` and ``scores.json``: the weights and the scores of ``Runner.test`` with the last checkpoint.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CLASSES = ("sky", "road", "car")
COLOURS = ((200, 160, 60), (60, 70, 80), (30, 30, 190))
"""Of the images, in OpenCV's channel order."""
ITERATIONS = 12

CONFIG = """
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='gloo'))
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(by_epoch=False)
norm_cfg = dict(type='SyncBN', requires_grad=True, momentum=0.5)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(48, 64)),
    backbone=dict(type='MobileNetV2', widen_factor=0.25, out_indices=(1, 2), norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=8, in_index=0, channels=8, num_convs=1, num_classes=3,
        norm_cfg=norm_cfg, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    auxiliary_head=dict(
        type='FCNHead', in_channels=8, in_index=1, channels=8, num_convs=1, num_classes=3,
        norm_cfg=norm_cfg,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(96, 64), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(48, 64)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 64), keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs')]
dataset_type = 'BaseSegDataset'
metainfo = dict(
    classes=('sky', 'road', 'car'), palette=[[0, 0, 255], [128, 64, 128], [255, 0, 0]])
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, metainfo=metainfo, reduce_zero_label=True,
        data_prefix=dict(img_path='images', seg_map_path='masks'), img_suffix='.png',
        seg_map_suffix='.png', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, metainfo=metainfo, reduce_zero_label=True,
        data_prefix=dict(img_path='images', seg_map_path='masks'), img_suffix='.png',
        seg_map_suffix='.png', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.02, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=2.)}))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=0.02, total_steps=40, by_epoch=False),
    dict(type='PolyMomentum', eta_min=0.8, begin=2, end=40, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=2, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4, save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'))
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
randomness = dict(seed=0)
"""


def main(folder: Path) -> None:
    """Train, resume the training, test."""
    from segplug_mmseg.compat import import_mmseg

    import_mmseg()
    import torch
    from mmengine.config import Config
    from mmengine.runner import Runner

    _write_images(folder / "data")
    (folder / "training.py").write_text(f"data_root = {str(folder / 'data')!r}\n{CONFIG}")
    config = Config.fromfile(str(folder / "training.py"))
    config.work_dir = str(folder / "work")

    def runner(**changes: Any) -> Any:
        time.sleep(1)  # mmengine names the folder of a start by the second
        name = f"run{time.time()}"  # in one process, a name stands for the object that was made first
        changed = config.copy()
        changed.merge_from_dict({"experiment_name": name, "visualizer.name": name, **changes})
        return Runner.from_cfg(changed)

    runner().train()
    runner(**{"resume": True, "train_cfg.max_iters": ITERATIONS}).train()
    last = runner(load_from=str(folder / "work" / f"iter_{ITERATIONS}.pth"))
    scores = last.test()
    torch.save(last.model.state_dict(), folder / "tested.pth")
    (folder / "scores.json").write_text(json.dumps({key: float(value) for key, value in scores.items()}))


def _write_images(folder: Path) -> None:
    """Images of three coloured areas with noise, and their masks: 0 is nothing, classes begin at 1."""
    import cv2

    drawn = np.random.default_rng(0)
    for number in range(5):
        mask: npt.NDArray[np.uint8] = np.ones((60, 90), np.uint8)
        mask[25 + number :] = 2
        mask[35:50, 10 * number : 10 * number + 25] = 3
        image = np.array(((0, 0, 0), *COLOURS))[mask] + drawn.normal(0, 25, (60, 90, 3))
        mask[:2, :4] = 0
        for name, content in (("images", image.clip(0, 255).astype(np.uint8)), ("masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name / f"{number}.png"), content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
