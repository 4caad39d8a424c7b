from __future__ import annotations

import numpy as np
import pytest
import torch
from segplug_mmseg.engine import provider
from segplug_mmseg.loader import provider as models

from segplug.engine import Axis, Engine
from segplug.errors import DeviceError, ShapeError, UsageError
from segplug.requests import InferRequest, LoadModelRequest


@pytest.fixture
def model(config_file):
    return models.load_model(LoadModelRequest(str(config_file)))


def test_it_runs_the_model_itself(model):
    engine = provider.infer(InferRequest(model=model))
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


def test_threads_are_put_back(model):
    before = torch.get_num_threads()
    engine = provider.infer(InferRequest(model=model, threads=before + 1))
    assert torch.get_num_threads() == before + 1
    engine.close()
    assert torch.get_num_threads() == before


def test_a_shape_that_the_network_cannot_take(model):
    engine = provider.infer(InferRequest(model=model))
    with pytest.raises(ShapeError, match="cannot take an input of 1x4x32x32") as caught:
        engine.run(np.zeros((1, 4, 32, 32), np.float32))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_asked(model):
    with pytest.raises(DeviceError, match="cuda:99"):
        provider.infer(InferRequest(model=model, device="cuda:99"))
    with pytest.raises(UsageError, match="runs a model"):
        provider.infer(InferRequest())


@pytest.mark.gpu
def test_on_a_gpu(model):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    batch = np.random.default_rng(0).standard_normal((1, 3, 64, 64), dtype=np.float32)
    reference = provider.infer(InferRequest(model=model)).run(batch)
    engine = provider.infer(InferRequest(model=model, device="cuda"))
    assert "cuda" in engine.spec.backend
    assert np.abs(engine.run(batch) - reference).max() < 1e-2
