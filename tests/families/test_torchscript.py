"""Reduced networks of many families as TorchScript with free sizes: one file for every size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from segplug_mmseg.compat import import_mmseg

from matrix.sample import SAMPLE
from segplug import Segplug
from segplug.testing import randomise


def load(name):
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    config, reduced = SAMPLE[name]
    model = Segplug().load_model(configs / config, cfg_options=reduced)
    randomise(model.module)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAMPLE))
def test_one_file_for_every_size(name, tmp_path):
    model = load(name)
    limits = model.input_limits()
    shape = limits.minimum if limits.is_fixed else (96, 160)
    artifact = Segplug().export("torchscript", model, output=tmp_path / "m.pt", dynamic=True, shape=shape)
    sizes = [(2, *limits.minimum)]
    if not limits.is_fixed:
        step = limits.multiple_of
        sizes.append((1, 117 + -117 % step, 139 + -139 % step))
    with Segplug().open(artifact, backend="torchscript") as engine:
        for size in sizes:
            assert distance(model, engine, size) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cgnet", "segformer", "unet"])
def test_a_program_for_every_size(name, tmp_path):
    model = load(name)
    artifact = Segplug().export(
        "torch-export", model, output=tmp_path / "m.pt2", dynamic=True, shape=(96, 160)
    )
    with Segplug().open(artifact, backend="torch-export") as engine:
        assert distance(model, engine, (2, *artifact.meta.input_limits.minimum)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beit", "pspnet", "swin"])
def test_an_optimised_file_opens(name, tmp_path):
    model = load(name)
    limits = model.input_limits()
    shape = limits.minimum if limits.is_fixed else (96, 160)
    artifact = Segplug().export("torchscript", model, output=tmp_path / "m.pt", optimize=True, shape=shape)
    with Segplug().open(artifact, backend="torchscript") as engine:
        assert distance(model, engine, (1, *shape)) < 1e-4


def distance(model, engine, size):
    """The largest difference of the logits, as a share of the largest logit.

    Not of their range, which says little where there is one pixel.
    """
    batch, height, width = size
    images = np.random.default_rng(0).standard_normal((batch, 3, height, width), dtype=np.float32)
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(images)).numpy()
    return np.abs(engine.run(images) - expected).max() / np.abs(expected).max()
