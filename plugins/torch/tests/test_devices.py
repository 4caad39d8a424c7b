"""Device names, and what PyTorch's errors mean."""

from __future__ import annotations

import pytest
import torch
from segplug_torch.devices import resolve_device
from segplug_torch.errors import is_out_of_memory, one_line

from segplug.errors import DeviceError, UsageError


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", "", "toaster"])
def test_what_is_no_device(name):
    with pytest.raises(UsageError, match=f"'{name}' is no device"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "xla"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(DeviceError, match=name):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_cpu_has_no_number(name):
    assert resolve_device(name) == torch.device("cpu")


def test_a_cuda_device_has_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(resolve_device("cuda")) == "cuda:0"
    assert str(resolve_device("cuda:1")) == "cuda:1"
    with pytest.raises(DeviceError, match="finds 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("sizes differ\nmore of it"), "sizes differ"),
        (AssertionError(), "AssertionError"),
        (
            RuntimeError("The following operation failed in the TorchScript interpreter.\n  File x\nbad"),
            "bad",
        ),
        (ValueError("x" * 1000), "x" * 300),
    ],
)
def test_errors_in_one_line(error, line):
    assert one_line(error) == line


def test_which_errors_say_that_memory_is_not_enough():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
