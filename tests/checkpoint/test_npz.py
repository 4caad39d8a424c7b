"""NumPy's archives: arrays that are read, and files that are refused."""

from __future__ import annotations

import io
import os
import pathlib
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from segplug.checkpoint import read_checkpoint
from segplug.errors import CheckpointError, MissingDependencyError

ARRAYS = {
    "Transformer/encoder/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "columns": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "big": np.arange(5, dtype=">f4"),
    "half": np.array([1.5, -2], dtype=np.float16),
    "scalar": np.array(7, dtype=np.int64),
    "none": np.zeros((0, 3), dtype=np.float32),
    "flags": np.array([True, False]),
    "waves": np.array([1 + 2j, 3 - 1j], dtype=np.complex64),
    "unsigned": np.array([1, 65535], dtype=np.uint16),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_tensors(tmp_path, save):
    save(tmp_path / "w.npz", **ARRAYS)
    read = read_checkpoint(str(tmp_path / "w.npz"))
    assert list(read.state) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert read.state[name].tolist() == array.tolist(), name
        expected = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        assert read.state[name].dtype == expected.dtype, name
        assert read.state[name].shape == array.shape
    assert not read.meta
    assert not read.rest


def test_tensors_are_aligned_and_have_memory_of_their_own(tmp_path):
    path = tmp_path / "w.npz"
    arrays = {"n" * length: np.full(1000, length, np.float32) for length in range(1, 9)}
    arrays["columns"] = np.asfortranarray(np.arange(1000, dtype=np.float32).reshape(10, 100))
    np.savez(path, **arrays)
    before = path.read_bytes()
    state = read_checkpoint(str(path)).state
    for name, array in arrays.items():
        assert state[name].data_ptr() % 4 == 0
        assert state[name].untyped_storage().nbytes() == 4000
        assert state[name].tolist() == array.tolist()
    assert len({value.untyped_storage().data_ptr() for value in state.values()}) == len(arrays)
    for value in state.values():
        value.zero_()
    assert path.read_bytes() == before


PEAK = """
import os, sys
import numpy, torch
def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) * 1024
from segplug.checkpoint import read_checkpoint
before = peak()
state = dict(read_checkpoint(sys.argv[1]).state)
turned = {name: state.pop(name).t().contiguous() for name in list(state)}
print((peak() - before) / os.path.getsize(sys.argv[1]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process's peak")
@pytest.mark.parametrize("remainder", [0, 1])
def test_a_tensor_that_is_no_longer_used_gives_its_memory_back(tmp_path, remainder):
    """A converter replaces one tensor after the other by a new one."""
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for place in range(64):
            write_member(archive, f"a{place}", np.full((512, 1024), place, np.float32), remainder)
    command = [sys.executable, "-c", PEAK, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert float(answer.stdout) < 1.5


def write_member(archive: zipfile.ZipFile, name: str, array, remainder: int) -> None:
    """An array whose values begin at a multiple of 64, and ``remainder``."""
    file = io.BytesIO()
    np.save(file, array)
    content, member = file.getvalue(), zipfile.ZipInfo(f"{name}.npy")
    values = archive.fp.tell() + 30 + len(member.filename) + 4 + len(content) - array.nbytes
    gap = (remainder - values) % 64
    member.extra = struct.pack("<HH", 0x7777, gap) + bytes(gap)
    archive.writestr(member, content)


@pytest.mark.skipif(not pathlib.Path("/proc/self/fd").exists(), reason="only Linux tells what is open")
def test_no_file_stays_open(tmp_path):
    np.savez(tmp_path / "w.npz", **{f"{place:04}": np.full(16, place, np.float32) for place in range(2000)})
    before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    state = read_checkpoint(str(tmp_path / "w.npz")).state
    assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before
    assert len(state) == 2000
    assert all(float(value[0]) == int(name) for name, value in state.items())


def test_bfloat16_as_jax_stores_it(tmp_path):
    values = torch.tensor([[1.5, -2.0], [float("inf"), 3e38]], dtype=torch.bfloat16)
    np.savez(tmp_path / "w.npz", a=values.view(torch.int16).numpy().view("V2"))
    state = read_checkpoint(str(tmp_path / "w.npz")).state
    assert state["a"].dtype == torch.bfloat16
    assert torch.equal(state["a"], values)


def test_texts_are_no_weights(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.ones(2), note=np.array("ViT-B"))
    read = read_checkpoint(str(tmp_path / "w.npz"))
    assert set(read.state) == {"a"}
    assert read.rest["state_dict.note"] == "ViT-B"


class Bomb:
    def __reduce__(self):
        return (pathlib.Path.touch, (pathlib.Path(self.target),))


@pytest.mark.parametrize("trust", [False, True])
def test_code_in_an_archive_does_not_run(tmp_path, trust):
    Bomb.target = str(tmp_path / "ran")
    np.savez(tmp_path / "w.npz", a=np.ones(2), b=np.array([Bomb()], dtype=object))
    with pytest.raises(CheckpointError, match=r"holds b\.npy, an array of Python objects") as caught:
        read_checkpoint(str(tmp_path / "w.npz"), trust=trust)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, "V4"),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, "M8[s]"),
        pytest.param(
            np.zeros(2, np.longdouble),
            marks=pytest.mark.skipif(np.longdouble(0).itemsize == 8, reason="longdouble is float64 here"),
        ),
    ],
)
def test_arrays_that_are_no_tensors_are_named(tmp_path, array):
    np.savez(tmp_path / "w.npz", odd=array)
    with pytest.raises(CheckpointError, match=r"holds odd\.npy, an array of the type .*, which is not read"):
        read_checkpoint(str(tmp_path / "w.npz"))


def archive_of(header: bytes, values: bytes = b"") -> bytes:
    """An archive with one array of this header and these values, which may not agree."""
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        array = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + values
        archive.writestr("a.npy", array)
    return file.getvalue()


def with_false_size(compression: int) -> bytes:
    """An archive whose directory and array header both promise 2 GiB, with 4 bytes of values."""
    values = 1 << 29
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % values
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + b"1234"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("a.npy", array)
        (member,) = archive.infolist()
        member.file_size = len(array) - 4 + 4 * values
        if compression == zipfile.ZIP_STORED:
            member.compress_size = member.file_size
    return file.getvalue()


def damaged(compress: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, abc=np.arange(1000.0))
    content = bytearray(file.getvalue())
    content[len(content) // 2] ^= 255
    return bytes(content)


def damaged_files():
    file = io.BytesIO()
    np.savez(file, a=np.arange(1000.0))
    whole = file.getvalue()
    yield "half", whole[: len(whole) // 2]
    yield "no start", whole[100:]
    yield "text", b"no archive\n"
    yield "one array", whole[whole.index(b"\x93NUMPY") :][:500]
    file = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, file)
    yield "a pickle of PyTorch", file.getvalue()
    yield "too short", archive_of(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }", b"1234")
    yield "huge", archive_of(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 60,), }", b"1234")
    yield "negative", archive_of(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }", b"1234")
    yield "no type", archive_of(b"{'descr': '<x4', 'fortran_order': False, 'shape': (1,), }", b"1234")
    yield "no header", archive_of(b"{{{{ '''", b"1234")
    yield "compressed", damaged(compress=True)
    yield "stored", damaged(compress=False)
    yield "false size, compressed", with_false_size(zipfile.ZIP_DEFLATED)
    yield "false size, stored", with_false_size(zipfile.ZIP_STORED)


@pytest.mark.parametrize("content", [pytest.param(data, id=name) for name, data in damaged_files()])
def test_damaged_files_are_one_line(tmp_path, content):
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"is damaged or no \.npz file|bytes and unpacks to 2,147"
    ) as caught:
        read_checkpoint(str(path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_an_archive_without_arrays(tmp_path):
    np.savez(tmp_path / "w.npz")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_checkpoint(str(tmp_path / "w.npz"))


def test_without_pytorch(tmp_path, monkeypatch):
    np.savez(tmp_path / "w.npz", a=np.ones(2))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="pip install torch"):
        read_checkpoint(str(tmp_path / "w.npz"))
