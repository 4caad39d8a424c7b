"""The runner against a stand-in: no GPU, host memory in the device's place, and a context that adds one."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from segplug_tensorrt.engine import TensorRTEngine

from segplug import ModelMeta
from segplug.errors import ShapeError, UsageError
from segplug.testing import EngineConformance

TRT = SimpleNamespace(
    TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
    DataType=SimpleNamespace(FLOAT="f", HALF="h", INT32="i", INT64="l"),
)
PROFILES = [
    ((1, 3, 16, 16), (1, 3, 32, 32), (1, 3, 64, 64)),
    ((1, 3, 16, 16), (2, 3, 64, 64), (4, 3, 96, 96)),
]


class StandInCuda:
    def __init__(self):
        self.held, self.made = {}, 0

    def malloc(self, size):
        buffer = (ctypes.c_ubyte * size)()
        self.made += 1
        self.held[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    host_alloc = malloc

    def free(self, address):
        del self.held[address]

    host_free = free

    def stream_create(self):
        self.held["stream"] = True
        return 1

    def stream_destroy(self, stream):
        del self.held["stream"]

    def copy_to_device_async(self, device, host, size, stream):
        ctypes.memmove(device, host, size)

    def copy_to_host_async(self, host, device, size, stream):
        ctypes.memmove(host, device, size)

    def synchronize(self, stream): ...


class StandInEngine:
    """Engine and context in one."""

    num_io_tensors, num_optimization_profiles = 2, len(PROFILES)

    def __init__(self):
        self.switched, self.addresses, self.shape = [], {}, (-1, 3, -1, -1)

    def get_tensor_name(self, index):
        return ("input", "output")[index]

    def get_tensor_mode(self, name):
        return {"input": "in", "output": "out"}[name]

    def get_tensor_dtype(self, name):
        return "f"

    def get_tensor_shape(self, name):
        return self.shape

    def get_tensor_profile_shape(self, name, index):
        return PROFILES[index]

    def create_execution_context(self):
        return self

    def set_optimization_profile_async(self, index, stream):
        self.switched.append(index)
        return True

    def set_input_shape(self, name, shape):
        self.shape = shape
        return True

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        count = int(np.prod(self.shape))
        given, taken = (
            np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.addresses[name]))
            for name in ("input", "output")
        )
        taken[:] = given + 1
        return True


def opened():
    cuda, standin = StandInCuda(), StandInEngine()
    meta = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)
    return TensorRTEngine(TRT, standin, meta, cuda, backend="stand-in", logger=None), cuda, standin


def test_profiles_buffers_and_close():
    engine, cuda, standin = opened()
    for shape in ((1, 3, 32, 32), (1, 3, 16, 64), (3, 3, 32, 32), (1, 3, 32, 32)):
        batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert np.allclose(engine.run(batch), batch + 1)
    assert standin.switched == [0, 1, 0]
    assert cuda.made == 8  # device and host, in and out, grown once
    with pytest.raises(ShapeError, match="its profiles are"):
        engine.run(np.zeros((5, 3, 32, 32), np.float32))
    engine.close()
    assert cuda.held == {}
    with pytest.raises(UsageError, match="closed"):
        engine.run(batch)


class TestStandIn(EngineConformance):
    @pytest.fixture
    def engine(self):
        return opened()[0]
