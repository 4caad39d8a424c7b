from __future__ import annotations

import argparse
import collections
import json
import pathlib
import struct
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from segplug_mmseg.compat import import_mmseg
from torch import nn

from segplug.checkpoint import read_checkpoint, write_weights
from segplug.errors import CheckpointError, UsageError

STATE = collections.OrderedDict(weight=torch.arange(6.0).reshape(2, 3), bias=torch.ones(2))
OTHER = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}


def mmcv_meta() -> dict:
    import_mmseg()
    from mmcv import ConfigDict

    return {
        "CLASSES": ("a", "b"),
        "PALETTE": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "mIoU": np.float64(0.5),
        "loss": np.float32(0.25),
        "best": np.bool_(True),
        "iter": np.int64(7),
        "names": np.array(["x", "yz"]),
        "cfg": ConfigDict({"model": {"type": "X", "stages": [{"n": 1}]}}),
        "hook_msgs": {},
    }


@pytest.mark.parametrize("new_format", [True, False])
def test_content_of_mmcv_files_is_read_with_the_restricted_unpickler(tmp_path, new_format):
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    path = tmp_path / "w.pth"
    content = {"meta": mmcv_meta(), "state_dict": STATE, "optimizer": optimizer}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    before = path.read_bytes()
    checkpoint = read_checkpoint(str(path))
    assert torch.equal(checkpoint.state["weight"], STATE["weight"])
    assert checkpoint.meta["PALETTE"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert checkpoint.meta["mIoU"] == 0.5
    assert checkpoint.meta["cfg"]["model"]["stages"] == [{"n": 1}]
    assert path.read_bytes() == before


def test_arrays_of_numpy_1(tmp_path):
    """Old files name ``numpy.core``, which numpy 2 renamed to ``numpy._core``."""
    path, old = tmp_path / "new.pth", tmp_path / "old.pth"
    content = {"meta": {"PALETTE": np.eye(3)}, "state_dict": STATE}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"numpy._core" in data
    old.write_bytes(data.replace(b"numpy._core", b"numpy.core"))
    assert read_checkpoint(str(old)).meta["PALETTE"].tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": STATE},
        {"model": STATE},
        STATE,
        {"state_dict": {f"module.{key}": value for key, value in STATE.items()}},
        {"model_ema": STATE, "epoch": 3},
        {"model_ema": {f"module.{key}": value for key, value in STATE.items()}},
        {f"module.{key}": value for key, value in STATE.items()},
        {"model": {"state_dict": STATE, "epoch": 3}},
        {"model": {"state_dict": {f"module.{key}": value for key, value in STATE.items()}}},
        {"state_dict": {"model": {"model_ema": STATE}}},
        {"model": {"state_dict": STATE, "step": torch.tensor(3)}},
        {"model": "the network's name", "model_ema": STATE},
        {"model_ema": OTHER, "model": OTHER, "state_dict": STATE},
        {"model_ema": OTHER, "model": STATE},
        {"module": STATE, "optimizer": {"state": {0: {"step": torch.tensor(3)}}}, "step": torch.tensor(3)},
        {"state_dict_ema": STATE, "epoch": 3},
        {"teacher": {f"module.{key}": value for key, value in STATE.items()}},
        {"teacher": {"module": STATE}},
        {"state_dict": STATE, "state_dict_ema": OTHER},
        {"model": {"module": STATE}, "module": OTHER},
    ],
)
def test_known_places_of_weights(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    state = read_checkpoint(str(tmp_path / "w.pth")).state
    assert {name: value.tolist() for name, value in state.items()} == {
        name: value.tolist() for name, value in STATE.items()
    }


def test_entries_beside_wrapped_weights(tmp_path):
    inner = {"state_dict": STATE, "meta": {"iter": 7}, "epoch": 3}
    torch.save({"model": inner, "model_ema": OTHER, "epoch": 4}, tmp_path / "w.pth")
    read = read_checkpoint(str(tmp_path / "w.pth"))
    assert set(read.rest) == {"model_ema", "epoch", "model.epoch"}
    assert (read.rest["epoch"], read.rest["model.epoch"]) == (4, 3)
    assert dict(read.meta) == {"iter": 7}
    torch.save({"model": inner, "meta": {"iter": 8}}, tmp_path / "w.pth")
    read = read_checkpoint(str(tmp_path / "w.pth"))
    assert (dict(read.meta), read.rest["model.meta"]) == ({"iter": 8}, {"iter": 7})


@pytest.mark.parametrize(
    "content",
    [
        {"student": STATE, "teacher": OTHER, "epoch": 3},
        {"teacher": OTHER, "student": STATE},
        {"student": {"model": STATE}, "teacher": {"module": OTHER}},
        {"student": nn.Linear(2, 2).state_dict(), "epoch": 3, "teacher": OTHER, "args": {"lr": 1}},
    ],
)
def test_of_several_networks_none_is_guessed(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"holds several networks: (student|teacher), (student|teacher) \(put"
    ):
        read_checkpoint(str(tmp_path / "w.pth"))


def test_a_network_under_an_unknown_key_is_not_guessed(tmp_path):
    torch.save({"net": STATE, 7: 1, **{f"note{i}": i for i in range(9)}}, tmp_path / "w.pth")
    line = r"w\.pth holds no weights \(its entries: net, 7, note0, note1, note2, note3, \.\.\.; weights"
    with pytest.raises(CheckpointError, match=line):
        read_checkpoint(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("new_format", [True, False])
def test_the_arguments_of_a_training_script_lie_beside_the_weights(tmp_path, new_format):
    args = argparse.Namespace(lr=0.1, device="cuda", inner=argparse.Namespace(depth=3))
    path = tmp_path / "w.pth"
    torch.save({"model": STATE, "args": args}, path, _use_new_zipfile_serialization=new_format)
    assert read_checkpoint(str(path)).rest["args"] == args
    args.path = pathlib.PurePosixPath("out")
    torch.save({"model": STATE, "args": args}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"PurePosixPath', which is not known to be harmless"):
        read_checkpoint(str(path))


def test_a_config_of_yacs_lies_beside_the_weights(tmp_path, monkeypatch):
    """Swin's official files; they are read without yacs."""
    module = types.ModuleType("yacs.config")
    module.CfgNode = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    config = module.CfgNode(MODEL=module.CfgNode(TYPE="swin"))
    config.__dict__["__immutable__"] = True
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patch.setitem(sys.modules, "yacs.config", module)
        torch.save({"model": STATE, "config": config}, tmp_path / "w.pth")
    read = read_checkpoint(str(tmp_path / "w.pth")).rest["config"]
    assert read == {"MODEL": {"TYPE": "swin"}}
    assert type(read) is collections.OrderedDict


def test_a_file_that_holds_itself(tmp_path):
    content = {}
    content["model"] = content
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="wraps its weights more than 4 times"):
        read_checkpoint(str(tmp_path / "w.pth"))


def test_a_tensor_may_be_called_like_a_wrapper(tmp_path):
    torch.save({"model": torch.ones(2), "weight": torch.zeros(1)}, tmp_path / "w.pth")
    assert set(read_checkpoint(str(tmp_path / "w.pth")).state) == {"model", "weight"}


def test_parameters_are_read_as_tensors_without_gradient(tmp_path):
    state = {"a": nn.Parameter(torch.ones(2)), "b": torch.ones(1, requires_grad=True)}
    torch.save(state, tmp_path / "w.pth")
    read = read_checkpoint(str(tmp_path / "w.pth")).state
    assert read.keys() == state.keys()
    for tensor in read.values():
        assert type(tensor) is torch.Tensor
        assert not tensor.requires_grad


@pytest.mark.parametrize("unsafe", [pathlib.PurePosixPath("x"), eval, slice(1)])
@pytest.mark.parametrize("new_format", [True, False])
def test_any_other_type_needs_the_users_consent(tmp_path, unsafe, new_format):
    path = tmp_path / "w.pth"
    content = {"state_dict": STATE, "meta": {"x": unsafe}}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"not known to be harmless .*--trust-checkpoint"):
        read_checkpoint(str(path))
    assert read_checkpoint(str(path), trust=True).meta["x"] == unsafe


def test_a_trusted_file_whose_code_is_not_installed(tmp_path):
    module = types.ModuleType("made_up_code")
    module.Config = type("Config", (), {"__module__": "made_up_code"})
    sys.modules["made_up_code"] = module
    try:
        torch.save({"state_dict": STATE, "meta": {"x": module.Config()}}, tmp_path / "w.pth")
    finally:
        del sys.modules["made_up_code"]
    with pytest.raises(
        CheckpointError, match="needs code that is not installed: No module named 'made_up_code'"
    ):
        read_checkpoint(str(tmp_path / "w.pth"), trust=True)


class Bomb:
    def __reduce__(self):
        return (pathlib.Path.touch, (pathlib.Path(self.target),))


def test_code_in_a_file_does_not_run(tmp_path):
    Bomb.target = str(tmp_path / "ran")
    torch.save({"state_dict": STATE, "meta": {"x": Bomb()}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="--trust-checkpoint"):
        read_checkpoint(str(tmp_path / "w.pth"))
    assert not (tmp_path / "ran").exists()


def damaged_files(folder) -> dict[str, bytes]:
    whole = folder / "whole.pth"
    torch.save({"state_dict": {"w": torch.zeros(1000)}}, whole)
    content = whole.read_bytes()
    torch.save({"state_dict": {"w": torch.zeros(1000)}}, whole, _use_new_zipfile_serialization=False)
    legacy = whole.read_bytes()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("readme", "no weights")
    return {
        "half": content[: len(content) // 2],
        "legacy_half": legacy[: len(legacy) // 2],
        "legacy_start": legacy[:60],
        "text": b"hello, this is no checkpoint\n",
        "json": b'{"state_dict": {}}',
        "noise": bytes(range(256)) * 4,
        "zip": whole.read_bytes(),
    }


DAMAGED = ("half", "legacy_half", "legacy_start", "text", "json", "noise", "zip")


def test_a_file_that_is_cut_anywhere_is_damaged(tmp_path):
    path = tmp_path / "cut.pth"
    torch.save({str(number): torch.zeros(100) for number in range(40)}, path)
    content = path.read_bytes()
    for length in range(1, len(content), 997):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged or no PyTorch checkpoint"):
            read_checkpoint(str(path))


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line_and_stays_as_it_is(tmp_path, name):
    contents = damaged_files(tmp_path)
    assert tuple(contents) == DAMAGED
    path = tmp_path / name
    path.write_bytes(contents[name])
    with pytest.raises(CheckpointError, match="damaged or no PyTorch checkpoint") as caught:
        read_checkpoint(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == contents[name]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "holds a list"),
        ({"a": 1}, "holds no weights .its entries: a; weights are looked for there and under state_dict"),
        ({}, "holds no weights$"),
        ({"state_dict": 3}, "not a state dict"),
        ({"state_dict": {}}, "holds no weights"),
    ],
)
def test_files_without_weights(tmp_path, content, reason):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_file_that_git_lfs_has_not_fetched(tmp_path, name):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 14884776\n"
    (tmp_path / name).write_text(pointer)
    with pytest.raises(CheckpointError, match="holds no weights, only where Git LFS has them") as caught:
        read_checkpoint(str(tmp_path / name))
    assert caught.value.hint == "git lfs pull in its folder, or download the file again"


def test_missing_empty_and_torchscript(tmp_path):
    with pytest.raises(UsageError, match="there is no checkpoint"):
        read_checkpoint(str(tmp_path / "none.pth"))
    (tmp_path / "empty.pth").touch()
    with pytest.raises(CheckpointError, match="is empty"):
        read_checkpoint(str(tmp_path / "empty.pth"))
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(str(tmp_path / "script.pt"))


def test_other_entries_are_kept_apart_from_the_weights(tmp_path):
    module = nn.BatchNorm2d(2)
    state = collections.OrderedDict((f"module.{k}", v) for k, v in module.state_dict().items())
    state._metadata = collections.OrderedDict({"module.": {"version": 2}})
    torch.save(
        {"state_dict": state, "meta": {"iter": 1}, "optimizer": {"lr": 1}, "best": 3}, tmp_path / "w.pth"
    )
    read = read_checkpoint(str(tmp_path / "w.pth"))
    assert dict(read.rest) == {"optimizer": {"lr": 1}, "best": 3}
    assert dict(read.meta) == {"iter": 1}
    assert dict(read.versions) == {"": {"version": 2}}
    assert "running_mean" in read.state


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_what_compiling_and_parallel_training_put_before_the_names(tmp_path, prefix):
    network = torch.compile(nn.BatchNorm2d(2)) if prefix == "_orig_mod." else nn.BatchNorm2d(2)
    own = {name.removeprefix("_orig_mod."): value for name, value in network.state_dict().items()}
    state = {prefix + name: value for name, value in own.items()}
    assert prefix != "_orig_mod." or state.keys() == network.state_dict().keys()
    torch.save(state, tmp_path / "w.pth")
    assert read_checkpoint(str(tmp_path / "w.pth")).state.keys() == own.keys()


def test_a_module_of_the_network_that_is_called_like_a_prefix_stays(tmp_path):
    torch.save({f"module.module.{name}": value for name, value in STATE.items()}, tmp_path / "w.pth")
    assert read_checkpoint(str(tmp_path / "w.pth")).state.keys() == {f"module.{name}" for name in STATE}


def test_other_values_among_the_weights_are_kept_apart(tmp_path):
    torch.save(dict(STATE, note="x"), tmp_path / "w.pth")
    read = read_checkpoint(str(tmp_path / "w.pth"))
    assert set(read.state) == {"weight", "bias"}
    assert read.rest == {"state_dict.note": "x"}


def test_safetensors(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(dict(STATE), path, metadata={"meta": '{"CLASSES": ["a"]}', "format": "pt"})
    read = read_checkpoint(str(path))
    assert {name: value.tolist() for name, value in read.state.items()} == {
        name: value.tolist() for name, value in STATE.items()
    }
    assert read.meta == {"CLASSES": ["a"]}
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="damaged or no safetensors file"):
        read_checkpoint(str(path))


@pytest.mark.parametrize("metadata", [None, {"meta": "no json"}, {"meta": "[1]"}])
def test_the_header_of_another_programs_safetensors(tmp_path, metadata):
    safetensors.torch.save_file(dict(STATE), tmp_path / "w.safetensors", metadata=metadata)
    assert read_checkpoint(str(tmp_path / "w.safetensors")).meta == {}


def test_safetensors_of_a_network_trained_in_parallel(tmp_path):
    state = {f"module.{name}": value for name, value in STATE.items()}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    assert set(read_checkpoint(str(tmp_path / "w.safetensors")).state) == {"weight", "bias"}


def test_safetensors_with_unaligned_tensors(tmp_path):
    """The format allows any offsets; the library writes aligned tensors."""
    places = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
        "c": {"dtype": "F32", "shape": [0, 2], "data_offsets": [11, 11]},
    }
    header = json.dumps(places).encode()
    header += b" " * (-len(header) % 8)
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"abc" + struct.pack("<2f", 1.5, -2))
    state = read_checkpoint(str(path)).state
    assert state["b"].data_ptr() % 4 == 0
    assert state["b"].tolist() == [1.5, -2]
    assert state["a"].tolist() == [97, 98, 99]
    assert state["c"].shape == (0, 2)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_changed_tensor_does_not_change_the_file(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    write_weights(path, STATE)
    before = path.read_bytes()
    state = read_checkpoint(str(path)).state
    state["weight"].add_(1)
    assert state["weight"][0, 0] == 1
    assert path.read_bytes() == before


def test_importing_the_package_imports_no_large_library():
    code = "import sys, segplug.checkpoint; print({'torch', 'numpy', 'safetensors'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
