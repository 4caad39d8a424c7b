"""One real config of every family of mmseg 0.30, at its real size, with mmcv lite or mmcv-full."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from segplug_mmseg.loader import provider

from segplug.reporting import QuietReporter
from segplug.requests import LoadModelRequest

pytestmark = pytest.mark.slow

# Position tables or pooling kernels that only the training size suits.
SIZES = {"beit": 640, "mae": 512, "mobilenet_v3": 512}


def families() -> list[str]:
    spec = importlib.util.find_spec("mmseg")
    if spec is None or spec.origin is None:
        return []
    root = Path(spec.origin).parent / ".mim" / "configs"
    folders = (folder for folder in root.iterdir() if not folder.name.startswith("_"))
    return sorted(folder.name for folder in folders if any(folder.glob("*.py")))


def lightest(folder: Path) -> Path:
    """By the words in its name that say how large it is."""

    def weight(path: Path) -> tuple[int, int, int]:
        heavy = sum(
            word in path.name for word in ("r101", "_l_", "large", "hr48", "s101", "-b5", "m-v2-d8_fpn")
        )
        return (
            heavy,
            -sum(word in path.name for word in ("r18", "hr18s", "mit-b0", "tiny", "t16")),
            len(path.name),
        )

    return min(folder.glob("*.py"), key=weight)


@pytest.mark.parametrize("family", families())
def test_a_family(mim_configs, family):
    config = lightest(mim_configs / family)
    reporter = QuietReporter()
    model = provider.load_model(LoadModelRequest(str(config), reporter=reporter))
    expected = ("augments", "the weights are random")
    assert [text for text in reporter.warnings if not any(words in text for words in expected)] == []
    size = SIZES.get(family, 128)
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    logits = model.module(images)
    assert logits.shape == (1, model.meta.out_channels, size, size)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
