"""The engine with a stand-in for the GPU: host memory, and a network that adds one."""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from segplug_tensorrt.engine import TensorRTEngine

from segplug import ModelMeta
from segplug.errors import DeviceError, ShapeError, UsageError
from segplug.model import Inference
from segplug.runtime.runner import Runner
from segplug.runtime.slide import Slider
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

    def use_device(self):
        self.used = threading.get_ident()

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
    """Engine and execution context in one object: adds one to three channels of every ``stride``-th pixel,
    or of the first pixels up to ``size``.
    """

    num_io_tensors = 2

    def __init__(self, profiles=PROFILES, stride=1, size=None):
        self.profiles, self.stride, self.size = profiles, stride, size
        self.num_optimization_profiles = len(profiles)
        self.switched, self.addresses, self.shape = [], {}, (-1, profiles[0][0][1], -1, -1)

    def get_tensor_name(self, index):
        return ("input", "output")[index]

    def get_tensor_mode(self, name):
        return {"input": "in", "output": "out"}[name]

    def get_tensor_dtype(self, name):
        return "f"

    def get_tensor_shape(self, name):
        if name == "input":
            return self.shape
        batch, _, height, width = self.shape
        return (batch, 3, *(self.size or (-(-height // self.stride), -(-width // self.stride))))

    def get_tensor_profile_shape(self, name, index):
        return self.profiles[index]

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
        given, taken = (
            np.ctypeslib.as_array(
                (ctypes.c_float * int(np.prod(shape))).from_address(self.addresses[name])
            ).reshape(shape)
            for name, shape in ((name, self.get_tensor_shape(name)) for name in ("input", "output"))
        )
        rows, columns = self.size or (None, None)
        taken[:] = given[:, :3, : rows : self.stride, : columns : self.stride] + 1
        return True


META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)


def opened(profiles=PROFILES, meta=META):
    cuda, standin = StandInCuda(), StandInEngine(profiles, meta.output_stride, meta.output_size)
    return TensorRTEngine(TRT, standin, meta, cuda, backend="stand-in", logger=None), cuda, standin


def test_profiles_are_switched_and_memory_is_reused_and_freed():
    engine, cuda, standin = opened()
    for shape in ((1, 3, 32, 32), (1, 3, 16, 64), (3, 3, 32, 32), (1, 3, 32, 32)):
        batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert np.allclose(engine.run(batch), batch + 1)
    assert standin.switched == [0, 1, 0]
    assert cuda.made == 8  # device and host, in and out, grown once
    with pytest.raises(ShapeError, match="its profiles are"):
        engine.run(np.zeros((1, 3, 32, 97), np.float32))
    engine.close()
    assert cuda.held == {}
    with pytest.raises(UsageError, match="closed"):
        engine.run(batch)


def test_a_batch_that_is_too_large_for_its_images_is_run_in_parts():
    engine, _, _ = opened()
    assert engine.spec.batch.maximum == 4
    batch = np.random.default_rng(0).normal(size=(3, 3, 80, 80)).astype(np.float32)
    assert np.allclose(engine.run(batch), batch + 1)
    engine, _, _ = opened([((1, 3, 16, 16), (1, 3, 16, 16), (2, 3, 128, 128)), PROFILES[1]])
    batch = np.random.default_rng(0).normal(size=(4, 3, 128, 100)).astype(np.float32)
    assert np.allclose(engine.run(batch), batch + 1)
    with pytest.raises(ShapeError):
        engine.run(np.zeros((4, 3, 129, 100), np.float32))
    engine.close()


def test_an_output_outlives_its_engine():
    engine, cuda, _ = opened()
    batch = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    output = engine.run(batch)
    engine.close()
    assert len(cuda.held) == 1
    assert np.allclose(output, batch + 1)
    del output
    assert cuda.held == {}


def test_every_thread_selects_the_engines_gpu():
    engine, cuda, _ = opened()
    batch = np.zeros((1, 3, 32, 32), np.float32)
    thread = threading.Thread(target=engine.run, args=(batch,))
    thread.start()
    thread.join()
    assert cuda.used != threading.get_ident()
    engine.run(batch)
    assert cuda.used == threading.get_ident()
    engine.close()


@pytest.mark.parametrize("trouble", [None, RuntimeError("no memory")])
def test_a_failed_context_frees_everything(trouble):
    cuda, standin = StandInCuda(), StandInEngine()

    def create():
        if trouble:
            raise trouble

    standin.create_execution_context = create
    log = SimpleNamespace(reason=lambda: "the GPU is full")
    with pytest.raises((DeviceError, RuntimeError), match=r"the GPU is full|no memory"):
        TensorRTEngine(TRT, standin, META, cuda, backend="stand-in", logger=log)
    assert cuda.held == {}


def test_sliding_windows_over_an_image_larger_than_every_profile():
    inference = Inference(mode="slide", crop_size=(32, 48), stride=(20, 30))
    engine, _, standin = opened(meta=META.replace(inference=inference))
    runs = []
    execute = standin.execute_async_v3
    standin.execute_async_v3 = lambda stream: runs.append(standin.shape) or execute(stream)
    image = np.random.default_rng(0).normal(size=(3, 150, 199)).astype(np.float32)
    slid = Slider(Runner(engine))(image)
    assert np.allclose(slid, image + 1, atol=1e-5)
    assert {shape[2:] for shape in runs} == {(32, 48)}
    assert max(shape[0] for shape in runs) == 4, "as many windows at once as the largest batch has"
    engine.close()


class TestStandIn(EngineConformance):
    @pytest.fixture
    def engine(self):
        return opened()[0]


class TestBandsAndStride(EngineConformance):
    @pytest.fixture
    def engine(self):
        profile = ((1, 13, 16, 16), (1, 13, 64, 64), (4, 13, 96, 96))
        return opened([profile], META.replace(in_channels=13, output_stride=4))[0]


class TestScoresOfOneSize(EngineConformance):
    @pytest.fixture
    def engine(self):
        return opened(meta=META.replace(output_size=(16, 12)))[0]
