"""A config of 0.x where 1.x is installed: written out, used in memory, and trained by mmengine's Runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.v1.config import read_config

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import UsageError
from segplug.progress import QuietReporter

OLD = """
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='MobileNetV2', widen_factor=0.25, out_indices=(5, 6), norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=80, in_index=1, channels=8, num_convs=1, num_classes=2,
        norm_cfg=norm_cfg, align_corners=False, ignore_index=7,
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_name='loss_ce'),
            dict(type='DiceLoss', loss_name='loss_dice', smooth=1)]))
train_cfg = dict()
test_cfg = dict(mode='whole')
img_norm_cfg = dict(mean=[1., 2., 3.], std=[4., 5., 6.], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale=(48, 32), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=(32, 32), pad_val=0, seg_pad_val=7),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(48, 32), img_ratios=[1.0, 1.5], flip=True, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32, pad_val=0),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
one = dict(
    type='CustomDataset', data_root='ROOT', img_dir='images', ann_dir='masks', img_suffix='.png',
    classes=('sky', 'road'), palette=[[0, 0, 255], [128, 64, 128]], ignore_index=7)
data = dict(
    samples_per_gpu=2, workers_per_gpu=0,
    train=dict(type='RepeatDataset', times=2, dataset=dict(pipeline=train_pipeline, **one)),
    val=dict(pipeline=test_pipeline, **one),
    test=dict(pipeline=test_pipeline, **one))
optimizer = dict(type='AdamW', lr=1e-3, paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.)}))
optimizer_config = dict(grad_clip=dict(max_norm=1))
lr_config = dict(
    policy='poly', warmup='linear', warmup_iters=2, warmup_ratio=0.1, power=1.0, min_lr=0., by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=4)
checkpoint_config = dict(by_epoch=False, interval=4)
evaluation = dict(interval=4, metric=['mIoU', 'mDice'], pre_eval=True)
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='nccl')
workflow = [('train', 1)]
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The config of 0.x, with four images and masks."""
    random = np.random.default_rng(0)
    for folder, channels, most in (("images", 3, 256), ("masks", 1, 2)):
        tmp_path.joinpath(folder).mkdir()
        for number in range(4):
            pixels = random.integers(0, most, (30, 40, channels), np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), pixels.squeeze())
    file = tmp_path / "old.py"
    file.write_text(OLD.replace("ROOT", str(tmp_path)))
    return file


class Reporter(QuietReporter):
    """Keeps notes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_the_written_config_has_the_settings_of_the_one_in_memory(old: Path, tmp_path: Path) -> None:
    import_mmseg()
    from mmengine.config import Config

    written, reporter = tmp_path / "new.py", Reporter()
    written.write_text(Segplug().upgraded_text(old))
    in_memory = read_config(str(old), reporter=reporter)
    loaded = Config.fromfile(str(written))
    assert loaded._cfg_dict == in_memory._cfg_dict
    assert str(loaded._cfg_dict) == str(in_memory._cfg_dict)  # types and order, too
    (note,) = reporter.notes
    assert note.startswith(f"{old} is a config of mmsegmentation 0.x")
    assert any("1.x uses them with --tta alone" in line for line in reporter.warnings)
    with pytest.raises(UsageError, match="there is nothing to upgrade"):
        Segplug().upgraded_text(written)


def test_the_written_config_trains_and_scores_as_the_old_one_in_segplug(old: Path, tmp_path: Path) -> None:
    import_mmseg()
    from mmengine.config import Config
    from mmengine.runner import Runner

    written, work = tmp_path / "new.py", tmp_path / "work"
    written.write_text(Segplug().upgraded_text(old))
    settings: Any = Config.fromfile(str(written))
    settings.work_dir, settings.log_level = str(work), "ERROR"
    with report_warnings():
        Runner.from_cfg(settings).train()
    (log,) = work.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    # Warm-up times policy, as 0.x has it: iterations 0 to 3 of 4; the head's rate is ten times as high.
    rates = [line["base_lr"] for line in lines if "base_lr" in line]
    assert rates == pytest.approx([1e-3 * 0.1, 1e-3 * 0.55 * 0.75, 1e-3 * 0.5, 1e-3 * 0.25])
    (scores,) = [line for line in lines if "mIoU" in line]

    session = Segplug()
    model = session.load_model(old, checkpoint=work / "iter_4.pth")
    report = session.evaluate(model, backend="pytorch", dataset=session.load_dataset(old))
    assert report.scores is not None
    assert round(100 * report.scores.metrics["mIoU"], 2) == round(scores["mIoU"], 2)


def test_overrides_name_settings_of_the_file_or_of_what_it_is_upgraded_to(
    old: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"data.test.img_dir": "other", "test_dataloader.dataset.data_root": "elsewhere"}
    dataset = read_config(str(old), options)["test_dataloader"]["dataset"]
    assert (dataset["data_prefix"]["img_path"], dataset["data_root"]) == ("other", "elsewhere")
    command = [
        "run",
        "analyze",
        "config",
        str(old),
        "--upgrade",
        "--cfg-options",
        "test_dataloader.batch_size=2",
    ]
    assert run_command_line(command) == 2
    assert "is a config of mmsegmentation 0.x, and has no such setting" in capfd.readouterr().err
