"""A reduced network of mmseg through ``build_engine torch-tensorrt``, with a stand-in for torch_tensorrt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from tensorrt_support import torch_standin

from matrix.sample import SAMPLE
from segplug import Segplug
from segplug.testing import randomise

pytestmark = pytest.mark.slow


def test_a_network_of_mmseg(tmp_path, monkeypatch):
    stand_in = torch_standin.install_with_gpu(monkeypatch, torch_standin.convert_strongly_typed)
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    config, reduced = SAMPLE["unet"]
    model = Segplug().load_model(configs / config, cfg_options=reduced)
    randomise(model.module)
    shapes = {"min_shape": ("1x3x64x96",), "max_shape": ("4x3x192x320",)}
    Segplug().build_engine("torch-tensorrt", model, output=tmp_path / "m.engine", precision="fp16", **shapes)
    program = stand_in.asked["program"].module()
    for shape in ((1, 3, 64, 96), (3, 3, 192, 256)):
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected, logits = model.module(images), program(images)
        assert expected.std() > 1e-2, "weights that show in the output"
        assert (expected - logits).abs().max() / (expected.max() - expected.min()) < 2e-2
