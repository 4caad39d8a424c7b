"""From a checkpoint to label maps: what segplug gives is what torchvision itself gives.

The other side is torchvision's own preset and network (``matrix/torchvision_zoo.py``). The short edge of an
image is 64 pixels, not 520, which would take minutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from proof_support.references import Image, Reference, assert_equal
from torch import nn
from torchvision_support.odd_sizes import SCORES, assert_odd_sizes
from torchvision_support.references import reference

from matrix import torchvision_zoo
from matrix.torchvision_models import NAMES
from matrix.torchvision_zoo import EDGE
from segplug import Segplug
from segplug.artifact import Artifact
from segplug.model import SegmentationModel
from segplug.runtime.sizes import plan_sizes

IMAGES = [
    torchvision_zoo.sample_image(*size, seed)
    for size, seed in itertools.product(torchvision_zoo.SIZES, torchvision_zoo.SEEDS)
]
SMALL = "lraspp_mobilenet_v3_large"


def _loaded(zoo: Callable[[str], Path], name: str) -> tuple[SegmentationModel, nn.Module]:
    """The model of segplug, and the network of torchvision with the same file."""
    file = zoo(name)
    model = Segplug().load_model(f"torchvision:{name}", checkpoint=file, resize_size=EDGE)
    from torchvision.models import get_model

    network = get_model(name, weights=None, weights_backbone=None, num_classes=5)
    network.load_state_dict(torch.load(file, weights_only=True))
    return model, network.eval()


def _references(network: nn.Module, images: Sequence[Image]) -> list[Reference]:
    found = [reference(network, image, EDGE) for image in images]
    for one in found:
        counts = np.bincount(one.labels.ravel())
        assert (counts > 0.05 * one.labels.size).sum() >= 3
    return found


def _assert_same(
    runnable: SegmentationModel | Artifact, images: Sequence[Image], references: Sequence[Reference]
) -> None:
    app = Segplug()
    with app.open(runnable) as engine:
        for image, one in zip(images, references, strict=True):
            found = app.predict(engine, image, logits=True)
            assert_equal(found.labels, one)
            assert np.abs(found.logits - one.scores).max() < SCORES * one.largest


@pytest.mark.slow
def test_the_network_itself(zoo: Callable[[str], Path]) -> None:
    model, network = _loaded(zoo, SMALL)
    _assert_same(model, IMAGES, _references(network, IMAGES))
    image = torchvision_zoo.sample_image(EDGE, 100)  # of the network's size: nothing is resized afterwards
    with torch.no_grad():
        labels = network(torchvision_zoo.preprocess(image, EDGE))["out"].argmax(1)[0].numpy()
    _assert_same(model, [image], [Reference(labels, reference(network, image, EDGE).scores)])


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_one_size(name: str, zoo: Callable[[str], Path], tmp_path: Path) -> None:
    model, network = _loaded(zoo, name)
    images = IMAGES[:2]  # of one size
    shape = plan_sizes(model.meta.preprocessing, (images[0].shape[0], images[0].shape[1])).geometry.network
    artifact = Segplug().export("onnx", model, output=tmp_path / "model.onnx", shape=shape)
    _assert_same(artifact, images, _references(network, images))


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_free_sizes(name: str, zoo: Callable[[str], Path], tmp_path: Path) -> None:
    model, network = _loaded(zoo, name)
    artifact = Segplug().export("onnx", model, output=tmp_path / "model.onnx", dynamic=True)
    _assert_same(artifact, IMAGES, _references(network, IMAGES))
    assert_odd_sizes(artifact, network)
