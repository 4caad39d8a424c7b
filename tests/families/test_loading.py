"""One real config of every family of mmseg 0.30, at its real size, with mmcv lite or mmcv-full."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.loader import provider

from matrix.families import FAMILIES
from segplug.progress import QuietReporter
from segplug.requests import LoadModelRequest
from segplug.testing import make_request

pytestmark = pytest.mark.slow

# Position tables or pooling kernels that only the training size suits.
SIZES = {"beit": 640, "mae": 512, "mobilenet_v3": 512}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family(family):
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    config = configs / family / FAMILIES[family].config
    reporter = QuietReporter()
    request = make_request(
        LoadModelRequest, config=str(config), reporter=reporter, options=provider.options()
    )
    model = provider.load_model(request)
    expected = ("augments", "the weights are random")
    assert [text for text in reporter.warnings if not any(words in text for words in expected)] == []
    size = SIZES.get(family, 128)
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    logits = model.module(images)
    assert logits.shape == (1, model.meta.out_channels, size, size)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
