"""Written weights: the same values when read again, no more bytes than needed, no second copy in memory."""

from __future__ import annotations

import collections
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from segplug.checkpoint import check_weights_suffix, read_checkpoint, write_safetensors, write_weights
from segplug.errors import CheckpointError, UsageError

SUFFIXES = (".pth", ".pt", ".safetensors")
LARGE = torch.arange(100_000.0)
STATE = {
    "z.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    "a.nan": torch.tensor([float("nan"), float("-inf"), -0.0, 1e-45]),
    "a.count": torch.tensor(7),
    "a.half": torch.arange(3, dtype=torch.bfloat16),
    "größe": torch.tensor([True, False]),
    "waves": torch.tensor([1 + 2j, 3 - 1j]).conj(),
    "none": torch.zeros(0, 3),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "spread": torch.ones(1, 3).expand(4, 3),
    "part": LARGE[10:20],
    "turned part": LARGE[20:26].reshape(2, 3).t(),
    "every other": LARGE[:20:2],
    "none of it": LARGE[:0],
}


def bits(tensor):
    return tensor.resolve_conj().contiguous().reshape(-1).view(torch.uint8).tolist()


def assert_same(state, expected) -> None:
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert state[name].shape == tensor.shape, name
        assert bits(state[name]) == bits(tensor), name


def library_reads(path):
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_written_files_are_read_by_the_libraries_and_by_us(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    write_weights(path, STATE)
    assert_same(library_reads(path), STATE)
    assert_same(read_checkpoint(str(path)).state, STATE)
    assert path.stat().st_size < 10_000  # nothing of the large storage but its parts


def test_a_pickle_is_the_flat_mapping_in_its_order(tmp_path):
    write_weights(tmp_path / "w.pth", STATE)
    content = torch.load(tmp_path / "w.pth", weights_only=True)
    assert type(content) is collections.OrderedDict
    assert list(content) == list(STATE)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_weights_give_equal_bytes(tmp_path, suffix):
    contents = set()
    for name in ("one", "two"):
        (tmp_path / f"{name}{suffix}").touch()
        write_weights(tmp_path / f"{name}{suffix}", {key: value.clone() for key, value in STATE.items()})
        contents.add((tmp_path / f"{name}{suffix}").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tensors_that_share_memory(tmp_path, suffix):
    whole = torch.arange(12.0).reshape(3, 4)
    state = {
        "one": whole,
        "tied": whole,
        "turned": whole.t(),
        "query": whole[0],
        "key": whole[1:2],
        "overlapping": whole[:2, 1:],
        "as numbers": whole.view(torch.int32),
        "part as numbers": whole[1].view(torch.int32),
    }
    path = tmp_path / f"w{suffix}"
    write_weights(path, state)
    assert_same(library_reads(path), state)
    assert_same(read_checkpoint(str(path)).state, state)


def test_a_shared_storage_is_written_once_in_a_pickle(tmp_path):
    whole = torch.zeros(100_000)
    write_weights(tmp_path / "w.pth", {"one": whole, "tied": whole, "other shape": whole.reshape(100, 1000)})
    assert tmp_path.joinpath("w.pth").stat().st_size < 410_000


def test_the_bytes_are_those_of_the_library(tmp_path):
    """All types that both know; the library puts them in its own order."""
    numbers = [torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64]
    numbers += [torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]
    numbers += [torch.bool, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz]
    state = {f"{sign}{place}": torch.ones(3, 2).to(t) for place, t in enumerate(numbers) for sign in "zaé"}
    write_safetensors(tmp_path / "ours.safetensors", state)
    safetensors.torch.save_file(state, tmp_path / "theirs.safetensors", metadata={"meta": "{}"})
    ours, theirs = (split(tmp_path / f"{name}.safetensors") for name in ("ours", "theirs"))
    del ours[0]["__metadata__"], theirs[0]["__metadata__"]
    assert list(ours[0].items()) == list(theirs[0].items())
    assert ours[1] == theirs[1]


def split(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def test_notes_are_read_again(tmp_path):
    notes = {"CLASSES": ["Straße", "sky"], "iter": 7}
    write_safetensors(tmp_path / "w.safetensors", {"a": torch.ones(1)}, notes)
    assert read_checkpoint(str(tmp_path / "w.safetensors")).meta == notes


ODD = [
    (torch.eye(3).to_sparse(), "sparse"),
    (torch.ones(3, device="meta"), "without values"),
    (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantised"),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("tensor", "kind"), ODD)
def test_other_than_plain_numbers_is_an_error(tmp_path, tensor, kind, suffix):
    with pytest.raises(CheckpointError, match=f"the tensor w is {kind}: only plain numbers are written"):
        write_weights(tmp_path / f"w{suffix}", {"a": torch.ones(1), "w": tensor})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tensor", "kind"), [*ODD, (torch.ones(3, dtype=torch.complex128), "of the type complex128")]
)
def test_tensors_that_safetensors_cannot_hold(tmp_path, tensor, kind):
    with pytest.raises(CheckpointError, match=rf"the tensor w is {kind}, which \.safetensors cannot hold"):
        write_safetensors(tmp_path / "w.safetensors", {"a": torch.ones(1), "w": tensor})
    assert not list(tmp_path.iterdir())


FULL = """
import resource, sys
from pathlib import Path
import torch
from segplug.files import writing
from segplug.checkpoint import write_weights
from segplug.errors import ArtifactError
state = {f"layer{place}": torch.zeros(50_000) for place in range(20)}
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with writing(Path(sys.argv[1]), force=False) as temporary:
        write_weights(temporary, state)
except ArtifactError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit can be set there")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_one_line(tmp_path, suffix):
    """The process has a limit of bytes to write, in place of a full disk."""
    command = [sys.executable, "-c", FULL, str(tmp_path / f"w{suffix}")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout == f"cannot write {tmp_path / f'w{suffix}'}: File too large\n"
    assert not answer.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_reason_why_writing_a_pickle_fails_is_not_hidden(tmp_path, monkeypatch, error):
    class Ends(io.BytesIO):
        def write(self, content):
            if self.tell() > 100_000:
                raise error
            return super().write(content)

    monkeypatch.setattr("segplug.checkpoint.writing.open", lambda path, mode: Ends(), raising=False)
    with pytest.raises(type(error)) as caught:
        write_weights(tmp_path / "w.pth", {f"layer{place}": torch.zeros(50_000) for place in range(3)})
    assert caught.value is error


@pytest.mark.parametrize("name", ["w", "w.npz", "w.onnx", "w.pth.gz"])
def test_other_suffixes_are_an_error(tmp_path, name):
    for attempt in (check_weights_suffix, lambda path: write_weights(path, STATE)):
        with pytest.raises(UsageError, match=r"end its name in \.pth, \.pt or \.safetensors"):
            attempt(tmp_path / name)
    assert not list(tmp_path.iterdir())
    check_weights_suffix(tmp_path / "W.PTH")


PEAK = """
import sys
from pathlib import Path
import numpy, torch
def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) * 1024
from segplug.checkpoint import read_checkpoint, write_weights
before = peak()
state = read_checkpoint(sys.argv[1]).state
write_weights(Path(sys.argv[2] + ".pth"), state)
write_weights(Path(sys.argv[2] + ".safetensors"), {name: value.t() for name, value in state.items()})
print((peak() - before) / Path(sys.argv[1]).stat().st_size)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process's peak")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_weights_are_not_held_in_memory_twice(tmp_path, suffix):
    source = tmp_path / f"source{suffix}"
    state = {f"layer.{'x' * place}": torch.full((1024, 1024), float(place)) for place in range(32)}
    if suffix == ".npz":
        np.savez(source, **{name: value.numpy() for name, value in state.items()})
    else:
        write_weights(source, state)
    command = [sys.executable, "-c", PEAK, str(source), str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert float(answer.stdout) < 1.5
    assert_equal_files(tmp_path, state)


def assert_equal_files(folder: Path, state) -> None:
    for suffix, turned in ((".pth", False), (".safetensors", True)):
        written = read_checkpoint(str(folder / f"out{suffix}")).state
        assert written.keys() == state.keys()
        assert all(torch.equal(written[name].t() if turned else written[name], state[name]) for name in state)
