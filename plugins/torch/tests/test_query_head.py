"""A head of queries, as that of MaskFormer: probabilities at a stride, the same on every engine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segplug import Segplug
from segplug.dataset import DatasetInfo
from segplug.model import SegmentationModel
from segplug.runtime.segment import Segmenter
from segplug.testing import ArrayDataset, randomise

CODE = """
import torch
from torch import nn


class Queries(nn.Module):
    '''Multiplies the classes of queries (softmax) with their masks (sigmoid), and adds the products up.'''

    def __init__(self, channels=4, classes=5, queries=12, width=16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
        )
        self.queries = nn.Parameter(torch.zeros(queries, width))
        self.classes = nn.Linear(width, classes + 1)

    def forward(self, images):
        features = self.body(images)
        queries = 4 * self.queries + features.mean(dim=(2, 3))[:, None]
        classes = (4 * self.classes(queries)).softmax(-1)[..., :-1]  # the last is "no object"
        masks = (4 * torch.einsum("nqc,nchw->nqhw", self.queries[None], features)).sigmoid()
        return torch.einsum("nqk,nqhw->nkhw", classes, masks)
"""
MEAN, STD = (1650.0, 1700.0, 1750.0, 1800.0), (700.0, 740.0, 780.0, 820.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SegmentationModel:
    folder = tmp_path_factory.mktemp("queries")
    (folder / "queries.py").write_text(CODE)
    before = [*sys.meta_path]
    loaded = Segplug().load_model(
        f"python:{folder}/queries.py:Queries",
        in_channels=4,
        mean=MEAN,
        std=STD,
        scores="probabilities",
        classes="5",
        input_size=(64, 96),
    )
    sys.meta_path[:] = before
    randomise(loaded.module, seed=4)
    return loaded


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Four 16-bit bands, smooth, of sizes that nothing divides."""
    random = np.random.default_rng(0)
    small = [random.uniform(200, 4000, (4, 8, 9)) for _ in range(3)]
    sizes = [(61, 90), (64, 96), (37, 111)]
    large = [
        F.interpolate(torch.from_numpy(bands)[None], size=size, mode="bicubic")[0].numpy()
        for bands, size in zip(small, sizes, strict=True)
    ]
    return [
        np.ascontiguousarray(bands.clip(0, 65535).transpose(1, 2, 0)).astype(np.uint16) for bands in large
    ]


@pytest.fixture(scope="module")
def expected(model: SegmentationModel, images: list[np.ndarray]) -> list[np.ndarray]:
    """What the network's own author would compute."""
    labels = []
    for image in images:
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        batch = (torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1)) - mean) / std
        with torch.no_grad():
            scores = F.interpolate(model.module(batch[None]), size=image.shape[:2], mode="bilinear")
        labels.append(scores.argmax(1)[0].numpy().astype(np.uint8))
    return labels


def test_it_is_described(model, expected):
    meta = model.meta
    assert (meta.in_channels, meta.output_stride, meta.scores) == (4, 4, "probabilities")
    assert (meta.out_channels, meta.activation) == (5, "softmax")
    assert all(len(np.unique(labels)) > 1 for labels in expected)


@pytest.mark.parametrize(
    ("target", "suffix", "options"),
    [
        ("pytorch", "", {}),
        ("onnx", ".onnx", {"output_kind": "logits"}),
        ("torchscript", ".pt", {}),
        ("torch-export", ".pt2", {}),
    ],
)
def test_labels_are_those_of_a_direct_computation(
    model, images, expected, tmp_path: Path, target, suffix, options
):
    session, subject, backend = Segplug(), model, target
    if suffix:
        pytest.importorskip("segplug_onnx" if target == "onnx" else "segplug_torchscript")
        subject = session.export(
            target, model, output=tmp_path / f"m{suffix}", dynamic=True, verify=True, **options
        )
        assert subject.meta.verification["passed"]
        assert subject.meta.verification["logits_compared"]
        backend = "onnxruntime" if target == "onnx" else target
    with session.open(subject, backend=backend, threads=1) as engine:
        found = [prediction.labels for prediction in Segmenter(engine, batch_size=2)(images)]
    assert_equal(found, expected)
    classes = tuple(f"class {index}" for index in range(5))
    info = DatasetInfo("arrays", classes, has_masks=True, fingerprint="arrays")
    report = session.evaluate(
        subject, backend=backend, dataset=ArrayDataset(images, expected, info), threads=1
    )
    assert report.scores.metrics["aAcc"] > 0.9999
    assert report.scores.metrics["mIoU"] > 0.999


def test_a_file_of_labels(model, images, expected, tmp_path):
    """It has labels at the network's input, which is the image itself."""
    pytest.importorskip("segplug_onnx")
    session = Segplug()
    artifact = session.export("onnx", model, output=tmp_path / "m.onnx", dynamic=True, verify=True)
    assert artifact.meta.verification["passed"]
    with session.open(artifact, backend="onnxruntime", threads=1) as engine:
        assert engine.spec.output == "labels"
        assert_equal([prediction.labels for prediction in Segmenter(engine)(images)], expected)


def assert_equal(found, expected):
    """Equal but for pixels where rounding decides between two classes."""
    for labels, correct in zip(found, expected, strict=True):
        assert labels.shape == correct.shape
        assert (labels != correct).sum() <= 1
