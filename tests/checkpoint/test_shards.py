"""Checkpoints in several files; errors if one of the files or their folder is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from segplug.checkpoint import read_checkpoint
from segplug.errors import CheckpointError, UsageError

STATE = {f"layer.{place}": torch.full((2, 3), float(place)) for place in range(5)}
FORMS = {
    "model.safetensors.index.json": "model-0000{}-of-00002.safetensors",
    "model.safetensors.index.fp16.json": "model.fp16-0000{}-of-00002.safetensors",
    "pytorch_model.bin.index.json": "pytorch_model-0000{}-of-00002.bin",
}


def write_shards(folder: Path, index: str = "model.safetensors.index.json", prefix: str = "") -> Path:
    """Write the weights to two files, the second with two tensors, and their index."""
    names = [prefix + name for name in STATE]
    files = [FORMS[index].format(1 if place < 3 else 2) for place in range(len(names))]
    for file in set(files):
        part = {n: t for n, t, f in zip(names, STATE.values(), files, strict=True) if f == file}
        if file.endswith(".safetensors"):
            safetensors.torch.save_file(part, folder / file, metadata={"meta": '{"iter": 7}'})
        else:
            torch.save(part, folder / file)
    content = {"metadata": {"total_size": 120}, "weight_map": dict(zip(names, files, strict=True))}
    folder.joinpath(index).write_text(json.dumps(content))
    return folder / index


def assert_whole(state: Any) -> None:
    assert list(state) == list(STATE)
    assert all(torch.equal(state[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize("index", FORMS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_files_of_an_index_are_read_as_one(tmp_path: Path, index: str, prefix: str) -> None:
    read = read_checkpoint(str(write_shards(tmp_path, index, prefix)))
    assert_whole(read.state)
    assert read.meta == ({"iter": 7} if "safetensors" in index else {})


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists mapped files")
@pytest.mark.parametrize("index", FORMS)
def test_shards_are_mapped_into_memory(tmp_path: Path, index: str) -> None:
    state = read_checkpoint(str(write_shards(tmp_path, index))).state
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    ranges = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in lines]
    assert len(state) == len(STATE)
    for tensor in state.values():
        assert any(start <= tensor.data_ptr() < end for start, end in ranges)


@pytest.mark.parametrize("index", FORMS)
def test_one_of_several_files_is_no_checkpoint(tmp_path: Path, index: str) -> None:
    path = write_shards(tmp_path, index)
    part = tmp_path / FORMS[index].format(2)
    with pytest.raises(UsageError, match="is one of 2 files of a checkpoint") as caught:
        read_checkpoint(str(part))
    assert str(caught.value) == f"{part} is one of 2 files of a checkpoint (give {path})"


def test_a_file_that_no_index_lists_with_others_is_read_alone(tmp_path: Path) -> None:
    write_shards(tmp_path)
    safetensors.torch.save_file(STATE, tmp_path / "other.safetensors")
    assert_whole(read_checkpoint(str(tmp_path / "other.safetensors")).state)
    only = {"weight_map": dict.fromkeys(STATE, "other.safetensors")}
    (tmp_path / "other.safetensors.index.json").write_text(json.dumps(only))
    (tmp_path / "broken.index.json").write_text("{")
    (tmp_path / "folder.index.json").mkdir()
    assert_whole(read_checkpoint(str(tmp_path / "other.safetensors")).state)
    assert_whole(read_checkpoint(str(tmp_path / "other.safetensors.index.json")).state)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    index = write_shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"lists model-00002-of-00002\.safetensors, which is not in its folder"
    ):
        read_checkpoint(str(index))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    index = write_shards(tmp_path)
    part = tmp_path / "model-00002-of-00002.safetensors"
    part.write_bytes(part.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"00002\.safetensors is damaged or no safetensors file"):
        read_checkpoint(str(index))
    part.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"00002\.safetensors is empty"):
        read_checkpoint(str(index))


def test_files_of_another_checkpoint_are_an_error(tmp_path: Path) -> None:
    index = write_shards(tmp_path)
    part = tmp_path / "model-00002-of-00002.safetensors"
    safetensors.torch.save_file({"layer.3": STATE["layer.3"]}, part)
    with pytest.raises(CheckpointError, match=r"lists layer\.4 in model-00002.*, which does not hold it"):
        read_checkpoint(str(index))
    safetensors.torch.save_file({**STATE}, part)
    with pytest.raises(CheckpointError, match=r"model-00002.* holds layer\.0, which .* does not list"):
        read_checkpoint(str(index))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[1]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": ["a"]}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": "../model.safetensors"}}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_a_damaged_index_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match="is damaged or no index of a checkpoint's files") as caught:
        read_checkpoint(str(path))
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a folder; name the file in it$"):
        read_checkpoint(str(tmp_path))
    safetensors.torch.save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is a folder; name the file in it \(model\.safetensors\)$"):
        read_checkpoint(str(tmp_path))
    write_shards(tmp_path)
    with pytest.raises(UsageError, match=r"name the file in it \(model\.safetensors\.index\.json\)$"):
        read_checkpoint(str(tmp_path))
