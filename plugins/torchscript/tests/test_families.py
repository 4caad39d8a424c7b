"""Reduced networks of many families as TorchScript with free sizes: one file for every size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from torchscript_support.networks import open_engine

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
def test_one_file_for_every_size(name, export):
    model = load(name)
    limits = model.input_limits()
    shape = limits.minimum if limits.is_fixed else (96, 160)
    engine = open_engine(export("torchscript", model, dynamic=True, shape=shape))
    sizes = [(2, *limits.minimum)]
    if not limits.is_fixed:
        step = limits.multiple_of
        sizes.append((1, 117 + -117 % step, 139 + -139 % step))
    for batch, height, width in sizes:
        images = np.random.default_rng(0).standard_normal((batch, 3, height, width), dtype=np.float32)
        with torch.inference_mode():
            expected = model.module(torch.from_numpy(images)).numpy()
        # Of one pixel's logits the range says little: rounding is measured by their size.
        assert np.abs(engine.run(images) - expected).max() / np.abs(expected).max() < 1e-4


@pytest.mark.slow
def test_a_program_for_every_size(export):
    model = load("unet")
    artifact = export("torch-export", model, dynamic=True, shape=(96, 160))
    engine = open_engine(artifact)
    height, width = artifact.meta.input_limits.minimum
    images = np.random.default_rng(0).standard_normal((2, 3, height, width), dtype=np.float32)
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(images)).numpy()
    assert np.abs(engine.run(images) - expected).max() / np.abs(expected).max() < 1e-4
