"""``convert_weights publish``: what is kept, what is removed, which weights, and what the file is called."""

from __future__ import annotations

import collections
import hashlib
import json
import pathlib
from pathlib import Path

import numpy as np
import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from torch import nn

from segplug import Segplug
from segplug.checkpoint import read_checkpoint
from segplug.cli.root import run_command_line
from segplug.errors import CheckpointError, NonfiniteError, UsageError

STATE = collections.OrderedDict(
    {
        "backbone.conv.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
        "backbone.bn.running_mean": torch.tensor([3e38, -3e38, -0.0, 1e-45]),
        "backbone.bn.num_batches_tracked": torch.tensor(7),
        "decode_head.conv_seg.bias": torch.arange(4, dtype=torch.bfloat16),
    }
)

META = {
    "CLASSES": ("road", "sky"),
    "PALETTE": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8),
    "config": "model = dict()",
    "iter": np.int64(40000),
    "env_info": "GPU 0: somebody's machine",
    "hook_msgs": {"best_score": 0.7},
}


def training_run(folder: Path, **changes) -> Path:
    content = {
        "meta": META,
        "state_dict": STATE,
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(1000)}}, "param_groups": []},
        **changes,
    }
    torch.save(content, folder / "latest.pth")
    return folder / "latest.pth"


def publish(source: Path, destination: Path, **options) -> tuple[Path, dict]:
    report = Segplug().convert_weights("publish", source, destination, **options)
    assert report.destination is not None
    return report.destination, dict(report.data)


def assert_same_bits(state, expected) -> None:
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype
        ours, theirs = (t.contiguous().reshape(-1).view(torch.uint8) for t in (state[name], tensor))
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize("safetensors", [False, True])
def test_weights_stay_and_training_state_is_removed(tmp_path, safetensors):
    source = training_run(tmp_path)
    before = source.read_bytes()
    suffix = ".safetensors" if safetensors else ".pth"
    path, data = publish(source, tmp_path / f"psp{suffix}", safetensors=safetensors)

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"psp-{digest[:8]}{suffix}"
    assert data["sha256"] == digest
    assert data["bytes"] == path.stat().st_size
    assert {item["what"] for item in data["removed"]} == {"optimizer", "meta.env_info", "meta.hook_msgs"}
    assert next(item["bytes"] for item in data["removed"] if item["what"] == "optimizer") == 4000

    read = read_checkpoint(str(path))
    assert_same_bits(dict(sorted(read.state.items())), dict(sorted(STATE.items())))
    assert not read.rest
    assert list(read.meta["CLASSES"]) == ["road", "sky"]
    assert np.asarray(read.meta["PALETTE"]).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert set(read.meta) == {"CLASSES", "PALETTE", "config", "iter"}
    assert source.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(["latest.pth", path.name])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_equal_weights_have_equal_names(tmp_path, suffix):
    """Also when equal notes are one object here and two there, which pickle writes differently."""
    text = "".join(["a ", "note"])
    for name, other in (("one", text), ("two", "".join(["a ", "note"]))):
        (tmp_path / name).mkdir()
        training_run(tmp_path / name, meta={**META, "first": text, "second": other})
    contents = {
        publish(
            tmp_path / folder / "latest.pth", tmp_path / f"{number}{suffix}", safetensors=suffix[1] == "s"
        )[0].read_bytes()
        for number, folder in enumerate(["one", "two"] * 6)
    }
    assert len(contents) == 1


def test_everybody_loads_what_is_published(tmp_path):
    """PyTorch itself, which knows nothing of numpy's arrays in a file."""
    path, _ = publish(training_run(tmp_path), tmp_path / "a.pth")
    content = torch.load(path, weights_only=True)
    assert content["meta"]["PALETTE"] == [[1, 2, 3], [4, 5, 6]]
    assert content["meta"]["CLASSES"] == ("road", "sky")


def test_a_networks_own_module_may_be_called_ema(tmp_path):
    state = {"a": torch.ones(1), "ema_attn.conv.weight": torch.ones(2), "ema_gain": torch.ones(3)}
    path, data = publish(training_run(tmp_path, state_dict=state), tmp_path / "a.pth")
    assert set(read_checkpoint(str(path)).state) == set(state)
    assert "ema" not in str(data["removed"])


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(3, device="meta"), "without values"),
        (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantised"),
    ],
)
def test_tensors_of_other_kinds_are_named(tmp_path, tensor, kind):
    source = training_run(tmp_path, state_dict={"a": torch.ones(1), "b.weight": tensor})
    with pytest.raises(CheckpointError, match=f"the tensor b.weight is {kind}"):
        publish(source, tmp_path / "a.pth", trust_checkpoint=True)
    assert [item.name for item in tmp_path.iterdir()] == ["latest.pth"]


def test_a_conjugate_view_is_written_as_it_is_seen(tmp_path):
    source = training_run(tmp_path, state_dict={"a": torch.tensor([1 + 2j, 3 - 1j]).conj()})
    path, _ = publish(source, tmp_path / "a.pth")
    assert read_checkpoint(str(path)).state["a"].tolist() == [1 - 2j, 3 + 1j]


def test_meta_that_is_no_mapping_is_reported(tmp_path):
    _, data = publish(training_run(tmp_path, meta="a text"), tmp_path / "a.pth")
    assert "meta" in {item["what"] for item in data["removed"]}


def test_a_published_file_is_not_replaced_without_force(tmp_path):
    source = training_run(tmp_path)
    path, _ = publish(source, tmp_path / "a.pth")
    with pytest.raises(UsageError, match=f"{path.name} already exists"):
        publish(source, tmp_path / "a.pth")
    assert publish(source, tmp_path / "a.pth", force=True)[0] == path


def test_a_part_of_a_large_storage_is_written_alone(tmp_path):
    large = torch.arange(100_000.0)
    source = training_run(tmp_path, state_dict={"w": large[:10], "v": large[10:20].reshape(2, 5).t()})
    path, _ = publish(source, tmp_path / "a.pth")
    assert path.stat().st_size < 10_000
    state = read_checkpoint(str(path)).state
    assert state["w"].tolist() == list(range(10))
    assert state["v"].tolist() == [[10, 15], [11, 16], [12, 17], [13, 18], [14, 19]]


def test_what_pytorch_notes_of_a_layout_is_kept_and_a_wrapper_is_not(tmp_path):
    module = nn.DataParallel(nn.BatchNorm2d(2))
    path, _ = publish(training_run(tmp_path, state_dict=module.state_dict()), tmp_path / "a.pth")
    read = read_checkpoint(str(path))
    assert "running_mean" in read.state
    assert any(version == {"version": 2} for version in read.versions.values())


# Averaged weights: files that mmcv's own hook and runners wrote.


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.norm_cfg = nn.BatchNorm2d(1)

    def train_step(self, data, optimizer, **kwargs):
        loss = self.norm_cfg(self.conv(data)).square().sum() + self.conv.weight.sum()
        return {"loss": loss, "log_vars": {}, "num_samples": 1}


def mmcv_run(folder: Path, runner: str) -> tuple[Path, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Train for six steps with ``EMAHook``; returns the file, the last weights and the averages."""
    import_mmseg()
    import logging

    from mmcv.runner import EMAHook, build_runner

    torch.manual_seed(0)
    net = Net()
    by_epoch = runner == "EpochBasedRunner"
    limit = {"max_epochs": 2} if by_epoch else {"max_iters": 6}
    config = f"runner = dict(type='{runner}')\ncheckpoint_config = dict(interval=1, by_epoch={by_epoch})\n"
    run = build_runner(
        {"type": runner, **limit},
        default_args={
            "model": net,
            "work_dir": str(folder),
            "optimizer": torch.optim.SGD(net.parameters(), lr=0.1),
            "logger": logging.getLogger("quiet"),
            "meta": {"config": config},
        },
    )
    states: dict[str, dict[str, torch.Tensor]] = {}

    class Spy(EMAHook):
        def after_train_iter(self, runner):
            # mmcv calls a form of `add_` that PyTorch no longer has; the arithmetic is its own.
            for name, parameter in self.model_parameters.items():
                self.model_buffers[self.param_ema_buffer[name]].mul_(0.9).add_(parameter.data, alpha=0.1)
            pairs = self.param_ema_buffer.items()
            states["last"] = {name: self.model_parameters[name].detach().clone() for name, _ in pairs}
            states["averages"] = {name: self.model_buffers[key].clone() for name, key in pairs}

    run.register_hook(Spy(), priority=49)
    run.register_training_hooks(
        lr_config=None,
        optimizer_config={"grad_clip": None},
        checkpoint_config={"interval": 1, "by_epoch": by_epoch},
    )
    images = torch.randn(6, 1, 2, 2)
    run.run([torch.utils.data.DataLoader(images, batch_size=2)], [("train", 1)])
    return folder / ("epoch_2.pth" if by_epoch else "iter_6.pth"), states["last"], states["averages"]


def matches(path: Path, expected: dict[str, torch.Tensor]) -> bool:
    state = read_checkpoint(str(path)).state
    assert not any(name.startswith("ema_") for name in state)
    return all(torch.equal(state[name], value) for name, value in expected.items())


def test_averages_of_a_runner_that_counts_iterations(tmp_path):
    source, last, averages = mmcv_run(tmp_path, "IterBasedRunner")
    plain, data = publish(source, tmp_path / "plain.pth")
    assert matches(plain, last)
    assert not matches(plain, averages)
    assert "4 tensors ema_*" in {item["what"] for item in data["removed"]}
    averaged, data = publish(source, tmp_path / "averaged.pth", ema=True)
    assert matches(averaged, averages)
    assert data["weights"] == "the averages under ema_*"
    # The statistics of the norm are no parameters: they are the network's own.
    assert torch.equal(
        read_checkpoint(str(averaged)).state["norm_cfg.running_mean"],
        read_checkpoint(str(source)).state["norm_cfg.running_mean"],
    )


def test_averages_of_a_runner_that_counts_epochs(tmp_path):
    """It swaps the two before it saves: ``ema_`` has the last weights."""
    source, last, averages = mmcv_run(tmp_path, "EpochBasedRunner")
    for ema in (False, True):
        path, data = publish(source, tmp_path / f"{ema}.pth", ema=ema)
        assert matches(path, averages)
        assert not matches(path, last)
        assert data["weights"] == "the averages, saved under the network's own names"


@pytest.mark.parametrize(
    ("config", "swapped", "guessed"),
    [
        ("runner = dict(type='EpochBasedRunner', max_epochs=2)", True, False),
        ("checkpoint_config = dict(interval=1)\ntotal_epochs = 12", True, False),
        ("runner = {'type': 'EpochBasedRunner'}", True, False),
        (
            "runner = dict(type='EpochBasedRunner')\n"
            "checkpoint_config = dict(meta=dict(x=(1,)), interval=1, by_epoch=False)",
            False,
            False,
        ),
        ("runner = dict(type='IterBasedRunner')", False, False),
        ("model = dict()", False, True),
        ("no python", False, True),
    ],
)
def test_the_runs_config_says_whether_the_two_are_swapped(tmp_path, config, swapped, guessed):
    state = {"w": torch.zeros(1), "ema_w": torch.ones(1)}
    source = training_run(tmp_path, state_dict=state, meta={"config": config})
    session = Segplug()
    report = session.convert_weights("publish", source, tmp_path / "a.pth", ema=True)
    assert read_checkpoint(str(report.destination)).state["w"].tolist() == [0.0 if swapped else 1.0]
    assert bool(session.reporter.warnings) == guessed


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averages_under_a_key_of_their_own(tmp_path, key):
    averages = {f"module.{name}": value + 1 for name, value in STATE.items()}
    source = training_run(tmp_path, **{key: averages})
    path, data = publish(source, tmp_path / "a.pth", ema=True)
    expected = {name: value + 1 for name, value in STATE.items()}
    assert_same_bits(read_checkpoint(str(path)).state, expected)
    assert key in data["weights"]
    assert_same_bits(read_checkpoint(str(publish(source, tmp_path / "b.pth")[0])).state, STATE)


def test_mmengine_saves_the_averages_as_the_networks_own(tmp_path):
    last = {f"module.{name}": value - 1 for name, value in STATE.items()}
    source = training_run(tmp_path, ema_state_dict=last)
    path, data = publish(source, tmp_path / "a.pth", ema=True)
    assert_same_bits(read_checkpoint(str(path)).state, STATE)
    assert "ema_state_dict" in {item["what"] for item in data["removed"]}


@pytest.mark.parametrize("safetensors", [False, True])
def test_the_notes_of_mmengine(tmp_path, safetensors):
    """A label map has numbers as keys, which JSON has not."""
    dataset = {"classes": ("road", "sky"), "palette": [[1, 2, 3], [4, 5, 6]], "reduce_zero_label": False}
    dataset["label_map"] = {np.int64(2): 1, 1: 255, 0: 0}
    meta = {"dataset_meta": dataset, "mmengine_version": "0.10.7", "cfg": "model = dict()", "epoch": 0}
    training = {"experiment_name": "a_20261201", "time": "20261201_000000", "seed": 1}
    source = training_run(tmp_path, meta=meta | training, message_hub={}, param_schedulers=[{"last_step": 3}])
    suffix = ".safetensors" if safetensors else ".pth"
    path, data = publish(source, tmp_path / f"a{suffix}", safetensors=safetensors)
    kept = read_checkpoint(str(path)).meta
    assert set(kept) == set(meta)
    assert tuple(kept["dataset_meta"]["classes"]) == ("road", "sky")
    expected = {"2": 1, "1": 255, "0": 0} if safetensors else {2: 1, 1: 255, 0: 0}
    assert kept["dataset_meta"]["label_map"] == expected
    assert {item["what"] for item in data["removed"]} == {
        *("optimizer", "message_hub", "param_schedulers"),
        *(f"meta.{name}" for name in training),
    }


def test_averages_that_are_not_there_or_of_another_network(tmp_path):
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        publish(training_run(tmp_path), tmp_path / "a.pth", ema=True)
    with pytest.raises(CheckpointError, match="have different names, such as"):
        publish(training_run(tmp_path, model_ema={"w": torch.zeros(1)}), tmp_path / "a.pth", ema=True)
    assert [item.name for item in tmp_path.iterdir()] == ["latest.pth"]


# Through the command line, with a real network.


def test_a_published_checkpoint_of_a_real_network_loads_again(data_dir, tmp_path, capsys):
    model = data_dir / "models" / "fastscnn_480x360_camvid"
    for destination in (tmp_path / "fast.pth", tmp_path / "fast.safetensors"):
        flags = ["--safetensors"] if destination.suffix == ".safetensors" else []
        command = ["run", "convert_weights", "publish", f"{model}.pth", str(destination), *flags, "--json"]
        assert run_command_line(command) == 0
        path = json.loads(capsys.readouterr().out)["destination"]
        session = Segplug()
        original = session.load_model(f"{model}.py", checkpoint=f"{model}.pth")
        again = session.load_model(f"{model}.py", checkpoint=path)
        assert_same_bits(again.module.state_dict(), original.module.state_dict())
        assert again.meta.classes == original.meta.classes


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no.pth", "out.pth"), 2, "there is no file"),
        (("text.pth", "out.pth"), 1, "damaged or no PyTorch checkpoint"),
        (("bomb.pth", "out.pth"), 1, "not known to be harmless"),
        (("latest.pth", "latest.pth/out.pth"), 2, "Not a directory"),
        (("latest.pth", "latest.pth", "--force"), 2, "is an input"),
        (("latest.pth", "out.safetensors"), 2, "add --safetensors"),
        (("latest.pth", "out.pth", "--safetensors"), 2, "name it out.safetensors"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    training_run(tmp_path)
    Path("text.pth").write_text("no weights\n")
    torch.save({"state_dict": STATE, "meta": {"x": pathlib.PurePosixPath("x")}}, "bomb.pth")
    before = sorted(tmp_path.iterdir())
    assert run_command_line(["run", "convert_weights", "publish", *arguments]) == code
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_what_runs_code_is_published_without_it_when_trusted(tmp_path):
    content = {"state_dict": STATE, "meta": {**META, "x": pathlib.PurePosixPath("x")}}
    torch.save(content, tmp_path / "w.pth")
    path, data = publish(tmp_path / "w.pth", tmp_path / "out.pth", trust_checkpoint=True)
    assert "meta.x" in {item["what"] for item in data["removed"]}
    torch.load(path, weights_only=True)  # by everybody, without trust


def test_a_name_without_a_suffix_gets_one(tmp_path):
    path, _ = publish(training_run(tmp_path), tmp_path / "psp_r50.40k")
    assert path.name.startswith("psp_r50.40k-")
    assert path.suffix == ".pth"


def test_weights_that_are_nan_or_infinite_are_refused_or_kept_bit_for_bit(tmp_path):
    odd = torch.tensor([float("nan"), float("-inf"), -0.0, 1e-45])
    source = training_run(tmp_path, state_dict=STATE | {"backbone.bn.running_mean": odd})
    with pytest.raises(NonfiniteError, match=r"2 values in 1 tensor: backbone\.bn\.running_mean \(2 of 4\)"):
        publish(source, tmp_path / "best.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["latest.pth"]
    published, _ = publish(source, tmp_path / "best.pth", allow_nonfinite=True)
    found = read_checkpoint(str(published)).state["backbone.bn.running_mean"]
    assert torch.equal(found.view(torch.int32), odd.view(torch.int32))
