"""Masks that every query leaves out: the label is the surest of tiny scores, in a file as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from segplug import Segplug

CODE = """
import torch
from torch import nn


class Queries(nn.Module):
    '''Three queries of three classes, whose masks are off everywhere: -20 to -60.'''

    def forward(self, images):
        masks = -40 + 20 * torch.tanh(images)
        classes = 8 * torch.eye(3)
        masks = {sigmoid}
        return torch.einsum('qc,nqhw->nchw', classes.softmax(-1), masks)
"""
SIGMOIDS = [
    "torch.sigmoid(masks)",
    "masks.sigmoid()",
    "masks.clone().sigmoid_()",
    "nn.Sigmoid()(masks)",
    "nn.functional.sigmoid(masks)",
    "torch.special.expit(masks)",
]


@pytest.mark.parametrize("sigmoid", SIGMOIDS)
def test_labels_of_masks_that_are_off_are_those_of_pytorch(tmp_path, monkeypatch, sigmoid):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "off.py").write_text(CODE.format(sigmoid=sigmoid))
    session = Segplug()
    model = session.load_model(
        f"python:{tmp_path}/off.py:Queries",
        scores="probabilities",
        classes=("a", "b", "c"),
        mean=(0,),
        std=(1,),
    )
    artifact = session.export("onnx", model, output="off.onnx", shape=(24, 32), output_kind="logits")
    images = np.random.default_rng(0).normal(size=(1, 3, 24, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(images)).numpy()
    assert expected.max() < 1e-8
    with session.open(artifact, backend="onnxruntime") as engine:
        found = engine.run(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def test_a_network_of_logits_keeps_its_sigmoids():
    from segplug_torch.exportable import make_exportable

    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sigmoid())
    program = torch.export.export(make_exportable(net), (torch.zeros(1, 3, 4, 4),))
    assert "sigmoid" in str(program.graph)
    program = torch.export.export(make_exportable(net, probabilities=True), (torch.zeros(1, 3, 4, 4),))
    assert "sigmoid" not in str(program.graph)
