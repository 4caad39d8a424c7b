"""A training by mmengine's own Runner: its checkpoints, logs and config go through all commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mmseg_support.training as training
import pytest
import torch
from segplug_mmseg.compat import import_mmseg

from segplug import Segplug
from segplug.checkpoint import read_checkpoint
from segplug.cli.root import run_command_line

LAST = f"iter_{training.ITERATIONS}.pth"
STAND_INS = "segplug.checkpoint.pickles"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the training program writes."""
    folder = tmp_path_factory.mktemp("trained")
    # mmengine 0.10.7 itself cannot resume from its checkpoints with torch 2.6 or later without this.
    environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, training.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def run(*arguments: str | Path) -> None:
    assert run_command_line(["run", *map(str, arguments)]) == 0


def test_every_checkpoint_is_read_without_trust(trained):
    files = sorted((trained / "work").glob("*.pth"))
    assert {"iter_4.pth", "iter_8.pth", LAST} < {path.name for path in files}
    assert any(path.name.startswith("best_mIoU_iter_") for path in files)
    for path in files:
        read = read_checkpoint(str(path))
        dataset = read.meta["dataset_meta"]
        assert dataset["classes"] == training.CLASSES
        assert dataset["palette"] == [[0, 0, 255], [128, 64, 128], [255, 0, 0]]
        assert (dataset["label_map"], dataset["reduce_zero_label"]) == (None, True)
        assert read.meta["iter"] in (4, 8, training.ITERATIONS)
        assert "model = dict(" in read.meta["cfg"]
        hub = read.rest["message_hub"]
        assert hub["runtime_info"]["mmengine_version"] == read.meta["mmengine_version"]
        history = hub["log_scalars"]["train/loss"]
        assert (type(history).__module__, vars(history)) == (STAND_INS, {})
        if path.name.startswith("iter_"):
            one_cycle, momentum = read.rest["param_schedulers"]
            assert type(one_cycle["anneal_func"]).__module__ == STAND_INS
            assert momentum["param_name"] == "momentum"
            assert set(read.rest["optimizer"]) >= {"state", "param_groups"}


def test_the_weights_are_those_that_mmengine_tests(trained):
    """With ``EMAHook`` these are the averages; the last iteration's are others."""
    read = read_checkpoint(str(trained / "work" / LAST))
    tested = torch.load(trained / "tested.pth", weights_only=True)
    assert list(read.state) == list(tested)
    assert all(torch.equal(read.state[name], value) for name, value in tested.items())
    name = "decode_head.conv_seg.weight"
    assert not torch.equal(read.rest["ema_state_dict"][f"module.{name}"], tested[name])


def test_what_is_published_is_what_mmseg_takes(trained, tmp_path):
    import_mmseg()
    from mmseg.apis import init_model

    session = Segplug()
    report = session.convert_weights("publish", trained / "work" / LAST, tmp_path / "small.pth")
    assert report.data["kept"] == ["epoch", "iter", "cfg", "mmengine_version", "dataset_meta"]
    removed = {item["what"] for item in report.data["removed"]}
    assert removed == {
        *("message_hub", "optimizer", "param_schedulers", "ema_state_dict"),
        *("meta.seed", "meta.experiment_name", "meta.time"),
    }
    model = init_model(str(trained / "training.py"), str(report.destination), device="cpu")
    assert model.dataset_meta == read_checkpoint(str(trained / "work" / LAST)).meta["dataset_meta"]
    tested = torch.load(trained / "tested.pth", weights_only=True)
    assert all(torch.equal(value, tested[name]) for name, value in model.state_dict().items())
    assert session.load_model(
        str(trained / "training.py"), checkpoint=str(report.destination)
    ).meta.classes == (training.CLASSES)


def test_the_logs_of_both_starts(trained, tmp_path, capsys):
    work = trained / "work"
    picture = tmp_path / "curves.png"
    run("analyze", "logs", work, "--keys", "loss", "decode.loss_ce", "lr", "mIoU", "--out", picture, "--json")
    curves = {one["key"]: one for one in json.loads(capsys.readouterr().out)["curves"]}
    assert curves["loss"]["x"] == curves["lr"]["x"] == [2, 4, 6, 8, 10, 12]
    assert (curves["mIoU"]["mode"], curves["mIoU"]["x"]) == ("val", [4, 8, 12])
    # The averages that are validated last are those that are tested.
    scores = json.loads((trained / "scores.json").read_text())
    assert curves["mIoU"]["last"] == pytest.approx(scores["mIoU"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    run("analyze", "logs", work)
    assert "work mIoU (val)" in capsys.readouterr().out
    start = next(path for path in sorted(work.iterdir()) if path.is_dir())
    for log in (start, start / "vis_data", start / "vis_data" / "scalars.json", start / f"{start.name}.log"):
        (loss,) = Segplug().analyze("logs", log, keys=("loss",)).data["curves"]
        assert loss["x"] == [2, 4, 6, 8]


@pytest.mark.parametrize("dumped", ["work/training.py", "work/*/vis_data/config.py"])
def test_the_config_that_mmengine_dumps_is_a_models_config(trained, dumped, tmp_path, capsys):
    config = sorted(trained.glob(dumped))[0]
    session = Segplug()
    model = session.load_model(str(config), checkpoint=str(trained / "work" / LAST))
    original = session.load_model(str(trained / "training.py"), checkpoint=str(trained / "work" / LAST))
    assert model.meta.classes == training.CLASSES
    assert model.meta.preprocessing == original.meta.preprocessing
    image = torch.randn(1, 3, 64, 96)
    assert torch.equal(model.module(image), original.module(image))
    run("analyze", "config", config)
    (tmp_path / "again.py").write_text(capsys.readouterr().out)
    again = session.load_model(str(tmp_path / "again.py"), checkpoint=str(trained / "work" / LAST))
    assert torch.equal(again.module(image), original.module(image))


@pytest.mark.slow
def test_the_exported_file_scores_as_the_runner(trained, tmp_path, capsys):
    config, checkpoint = trained / "work" / "training.py", trained / "work" / LAST
    model = tmp_path / "m.onnx"
    run("export", "onnx", config, "--checkpoint", checkpoint, "--output", model, "--dynamic", "--verify")
    capsys.readouterr()
    run("infer", "onnxruntime", model, "--dataset", config, "--eval", "mIoU", "--json")
    scores = json.loads(capsys.readouterr().out)["scores"]
    runner = json.loads((trained / "scores.json").read_text())
    assert runner["mIoU"] > 50  # it has learnt something
    for name, value in runner.items():
        assert round(100 * scores[name], 2) == pytest.approx(value)


def test_a_checkpoint_and_a_config_that_do_not_belong_together(trained, tmp_path, capsys):
    """mmengine wrote the file: a config of 0.x that fits takes it, one with another head says why not."""
    old = tmp_path / "old.py"
    head = "type='FCNHead', in_channels=8, in_index=0, channels=8, num_convs={convs}, num_classes=3"
    text = f"""
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='MobileNetV2', widen_factor=0.25, out_indices=(1, 2), norm_cfg=dict(type='BN')),
    decode_head=dict({head}, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(96, 64), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(test=dict(type='CustomDataset', data_root='x', img_dir='x', classes=('a', 'b', 'c')))
"""
    checkpoint = str(trained / "work" / LAST)
    old.write_text(text.replace("{convs}", "1"))
    model = Segplug().load_model(str(old), checkpoint=checkpoint)
    assert model.meta.classes == training.CLASSES, "the checkpoint names them"
    original = Segplug().load_model(str(trained / "training.py"), checkpoint=checkpoint)
    image = torch.randn(1, 3, 64, 96)
    assert torch.equal(model.module(image), original.module(image))
    old.write_text(text.replace("{convs}", "2"))
    arguments = ["run", "export", "onnx", str(old), "--checkpoint", checkpoint, "--shape", "64"]
    assert run_command_line([*arguments, "--output", str(tmp_path / "m.onnx")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"the checkpoint {checkpoint} is of another model" in line
    assert "mmengine 0.10" in line
    assert "so it is of mmsegmentation 1.x, and the config is of 0.x" in line
    assert not (tmp_path / "m.onnx").exists()
