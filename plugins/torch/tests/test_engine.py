"""``infer pytorch`` and the engine that it shares with files that PyTorch opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from segplug_torch.engine import TorchEngine
from segplug_torch.infer_pytorch import provider
from torch import nn
from torch_support.networks import Net, make_model

from segplug.engine import Axis, Engine
from segplug.errors import DeviceError, ShapeError, UsageError
from segplug.requests import InferRequest
from segplug.testing import EngineConformance, make_request


@pytest.fixture
def model():
    return make_model()


class TestPyTorch(EngineConformance):
    @pytest.fixture
    def engine(self, model):
        return provider.infer(make_request(InferRequest, model=model))


def test_it_runs_the_model_itself(model):
    engine = provider.infer(make_request(InferRequest, model=model))
    assert isinstance(engine, Engine)
    assert engine.spec.output == "logits"
    assert engine.spec.meta is model.meta
    assert (engine.spec.batch, engine.spec.height, engine.spec.width) == (Axis(), Axis(), Axis())
    assert engine.spec.backend == f"pytorch {torch.__version__.split('+')[0]} (cpu)"
    for shape in ((2, 3, 64, 96), (1, 3, 40, 40)):
        batch = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        logits = engine.run(batch)
        assert logits.dtype == np.float32
        assert np.array_equal(logits, model.module(torch.from_numpy(batch)).numpy())
    engine.close()


def test_threads_are_restored(model):
    before = torch.get_num_threads()
    engine = provider.infer(make_request(InferRequest, model=model, threads=before + 1))
    assert torch.get_num_threads() == before + 1
    engine.close()
    assert torch.get_num_threads() == before


def test_a_closed_engine_does_not_run(model):
    engine = provider.infer(make_request(InferRequest, model=model))
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.run(np.zeros((1, 3, 32, 32), np.float32))


def test_a_shape_that_the_network_cannot_take(model):
    engine = provider.infer(make_request(InferRequest, model=model))
    with pytest.raises(ShapeError, match="cannot take an input of 1x4x32x32") as caught:
        engine.run(np.zeros((1, 4, 32, 32), np.float32))
    assert "\n" not in str(caught.value)


def test_a_size_that_is_not_within_the_axes(model):
    engine = TorchEngine(
        model.module,
        model.meta,
        device=torch.device("cpu"),
        backend="file",
        batch=Axis.fixed(1),
        height=Axis.fixed(32),
        width=Axis(16, 64, 16),
    )
    assert engine.run(np.zeros((1, 3, 32, 48), np.float32)).shape == (1, 3, 32, 48)
    for shape in ((2, 3, 32, 48), (1, 3, 48, 48), (1, 3, 32, 40)):
        with pytest.raises(ShapeError, match=r"takes batches of 1, heights of 32 and widths of 16\.\.64 in"):
            engine.run(np.zeros(shape, np.float32))


def test_what_cannot_be_asked(model):
    with pytest.raises(DeviceError, match="cuda:99"):
        provider.infer(make_request(InferRequest, model=model, device="cuda:99"))
    with pytest.raises(DeviceError, match="cuda:99"):
        provider.check_device("cuda:99")
    with pytest.raises(UsageError, match="'npu:0' is no device"):
        provider.check_device("npu:0")
    provider.check_device("cpu")
    with pytest.raises(UsageError, match=r"takes a loaded model, not model\.pt"):
        provider.infer(make_request(InferRequest, artifact=Path("model.pt")))


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_images_of_any_number_of_channels(channels):
    model = make_model(Net(in_channels=channels), in_channels=channels)
    engine = provider.infer(make_request(InferRequest, model=model))
    batch = np.random.default_rng(0).standard_normal((2, channels, 33, 40), dtype=np.float32)
    assert np.array_equal(engine.run(batch), model.module(torch.from_numpy(batch)).numpy())
    other = np.zeros((1, channels + 1, 32, 32), np.float32)
    with pytest.raises(ShapeError, match=f"its number of channels is {channels}$"):
        engine.run(other)


def test_a_function_that_takes_any_channels_is_not_given_others(model):
    engine = TorchEngine(lambda x: x, model.meta, device=torch.device("cpu"), backend="file")
    with pytest.raises(ShapeError, match="cannot take an input of 1x4x32x32"):
        engine.run(np.zeros((1, 4, 32, 32), np.float32))


def test_scores_at_a_stride():
    network = nn.Conv2d(3, 3, 3, stride=2, padding=1)
    engine = provider.infer(make_request(InferRequest, model=make_model(network, output_stride=2)))
    for size, scores in (((32, 48), (16, 24)), ((33, 47), (17, 24))):
        assert engine.run(np.zeros((1, 3, *size), np.float32)).shape == (1, 3, *scores)
    wrong = provider.infer(make_request(InferRequest, model=make_model(network, output_stride=3)))
    with pytest.raises(ShapeError, match="of 1x3x32x48: its scores are 1x3x16x24"):
        wrong.run(np.zeros((1, 3, 32, 48), np.float32))


def test_scores_of_one_size():
    network = nn.AdaptiveAvgPool2d((5, 7))
    engine = provider.infer(make_request(InferRequest, model=make_model(network, output_size=(5, 7))))
    for size in ((32, 48), (33, 47)):
        assert engine.run(np.zeros((1, 3, *size), np.float32)).shape == (1, 3, 5, 7)
    wrong = provider.infer(make_request(InferRequest, model=make_model(network, output_size=(7, 5))))
    with pytest.raises(ShapeError, match="of 1x3x32x48: its scores are 1x3x5x7"):
        wrong.run(np.zeros((1, 3, 32, 48), np.float32))


@torch.jit.script
def _greedy(images: torch.Tensor) -> torch.Tensor:
    return images.repeat([1 << 42, 1, 1, 1])


def _exhausted(images: torch.Tensor) -> torch.Tensor:
    raise MemoryError  # what PyTorch makes of C++'s bad_alloc


@pytest.mark.parametrize(
    "function",
    [lambda images: images.repeat([1 << 42, 1, 1, 1]), _greedy, _exhausted],
    ids=["eager", "script", "bad_alloc"],
)
def test_a_cpu_without_memory_is_no_fault_of_the_shape(function, model):
    engine = TorchEngine(function, model.meta, device=torch.device("cpu"), backend="torchscript")
    with pytest.raises(DeviceError, match="not enough memory on cpu for a batch of 1x3x32x48"):
        engine.run(np.zeros((1, 3, 32, 48), np.float32))


def test_the_providers_import_no_library():
    code = """
import sys
import segplug_torch.infer_pytorch, segplug_torch.python_source.provider
assert segplug_torch.python_source.provider.provider.accepts("python:package.module:factory")
found = {"torch", "numpy", "cv2"} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
def test_on_a_gpu(model):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    batch = np.random.default_rng(0).standard_normal((1, 3, 64, 64), dtype=np.float32)
    reference = provider.infer(make_request(InferRequest, model=model)).run(batch)
    engine = provider.infer(make_request(InferRequest, model=model, device="cuda"))
    assert "cuda:0" in engine.spec.backend
    assert np.abs(engine.run(batch) - reference).max() < 1e-2
