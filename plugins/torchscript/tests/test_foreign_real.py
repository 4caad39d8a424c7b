"""Networks that others made, saved as their makers show it: torchvision's, smp's, and a backbone of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchscript_support.foreign import save_program

from scripts import proofs
from segplug import Segplug
from segplug.progress import QuietReporter

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module", autouse=True)
def _proofs():
    proofs.install()
    torch.manual_seed(0)


def lraspp(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).eval()
    torch.jit.save(torch.jit.script(network), str(path))
    return network, {"classes": "4", "output_key": "out"}


def unet(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    from segmentation_models_pytorch import Unet

    network = Unet("resnet18", encoder_weights=None, classes=3).eval()
    torch.jit.save(torch.jit.trace(network, torch.rand(1, 3, 64, 96)), str(path))
    return network, {"classes": "3"}


class OnFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        import timm

        self.body = timm.create_model("resnet18", features_only=True, out_indices=(2,), pretrained=False)
        self.head = nn.Conv2d(128, 3, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images)[0])


def features(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    free = ({0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    network = save_program(path, OnFeatures(), (2, 3, 64, 96), free)
    return network, {"classes": "3", "trust_artifact": True}


@pytest.mark.parametrize(
    ("save", "name"),
    [(lraspp, "net.pt"), (unet, "net.pt"), (features, "net.pt2")],
    ids=["lraspp", "unet", "timm"],
)
def test_it_is_exported_with_free_sizes(tmp_path, save, name):
    network, given = save(tmp_path / name)
    sp, output = Segplug(reporter=QuietReporter()), tmp_path / "net.onnx"
    model = sp.load_model(tmp_path / name, mean="120", std="60", **given)
    artifact = sp.export(
        "onnx", model, output=output, shape=(64, 96), dynamic=True, output_kind="logits", verify=True
    )
    assert artifact.meta.verification["passed"]
    with sp.open(output) as engine, torch.no_grad():
        for shape in ((1, 3, 96, 64), (2, 3, 128, 160)):
            images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
            expected: Any = network(images)
            expected = expected["out"] if isinstance(expected, dict) else expected
            assert torch.equal(model.module(images), expected)
            answer = engine.run(images.numpy())
            np.testing.assert_allclose(answer, expected.numpy(), atol=1e-3 * float(expected.abs().max()))
            assert (answer.argmax(1) == expected.argmax(1).numpy()).mean() > 0.9999
