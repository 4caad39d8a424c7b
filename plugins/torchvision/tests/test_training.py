"""A network of torchvision that is trained, saved by ``torch.save``, exported, run, compared and served."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as PIL_Image
from proof_support.commands import run, served_mask
from proof_support.references import Image, Reference, assert_equal, mean_iou
from torch import nn
from torchvision_support.references import reference

from demo.scenes import CLASSES, draw_scene
from matrix.torchvision_zoo import preprocess
from scripts import proofs

pytestmark = pytest.mark.slow

NAME = "lraspp_mobilenet_v3_large"
EDGE = 64
"""The short edge of the network's images."""
STEPS = 60
SIZES = ((128, 256), (128, 201), (64, 128))
"""(height, width) of the scenes that are looked at; the last has the network's size itself."""


@dataclass(frozen=True)
class Trained:
    """What a user has after a training."""

    model: tuple[str, ...]
    """The words of a command that name the model, and how it was trained."""
    network: Any
    data: Path
    """A folder with images and masks."""
    images: tuple[Image, ...]
    truths: tuple[Image, ...]
    losses: tuple[float, ...]


def _scene(seed: tuple[int, int], size: tuple[int, int]) -> tuple[Image, Image]:
    """A street scene, smaller, and cut on the right if it is too wide: the image in RGB, and its labels."""
    image, labels = draw_scene(seed)
    whole = (2 * size[0], size[0])
    image = cv2.resize(image, whole, interpolation=cv2.INTER_AREA)
    labels = cv2.resize(labels, whole, interpolation=cv2.INTER_NEAREST)
    return image[:, : size[1]].copy(), labels[:, : size[1]].copy()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from torchvision.models import get_model

    root = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    network = get_model(NAME, weights=None, weights_backbone=None, num_classes=len(CLASSES)).train()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.1  # torchvision's 0.01 is for trainings of thousands of steps
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    scenes = [_scene((2, number), (EDGE, 2 * EDGE)) for number in range(8)]
    pixels = torch.cat([preprocess(image, EDGE) for image, _ in scenes])
    labels = torch.from_numpy(np.stack([mask for _, mask in scenes])).long()
    losses = []
    for step in range(STEPS):
        part = [(4 * step + number) % len(scenes) for number in range(4)]
        loss = nn.functional.cross_entropy(network(pixels[part])["out"], labels[part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    torch.save(  # as torchvision's reference script does
        {
            "model": network.state_dict(),
            "optimizer": optimiser.state_dict(),
            "epoch": 0,
            "args": argparse.Namespace(model=NAME),
        },
        root / "model_0.pth",
    )
    names = root / "classes.txt"
    names.write_text("\n".join(CLASSES) + "\n")
    images, truths = zip(*(_scene((1, number), size) for number, size in enumerate(SIZES)), strict=True)
    for number, (image, mask) in enumerate(zip(images, truths, strict=True)):
        for folder, array in (("images", image), ("masks", mask)):
            file = root / "data" / folder / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            PIL_Image.fromarray(array).save(file)
    options = ("--classes", str(names), "--resize-size", str(EDGE))
    model = (f"torchvision:{NAME}", "--checkpoint", str(root / "model_0.pth"), *options)
    return Trained(model, network.eval(), root / "data", images, truths, tuple(losses))


@pytest.fixture(scope="module")
def expected(trained: Trained) -> list[Reference]:
    return [reference(trained.network, image, EDGE) for image in trained.images]


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exported") / "model.onnx"
    document = run("export", "onnx", *trained.model, "--dynamic", "--output", output, "--verify")
    assert document["verification"]["passed"]
    return output


def test_the_training_learns_several_classes(trained: Trained, expected: list[Reference]) -> None:
    assert trained.losses[-1] < 0.6 * trained.losses[0]
    counts = np.bincount(np.concatenate([one.labels.ravel() for one in expected]))
    assert (counts > 0.05 * counts.sum()).sum() >= 3


def test_the_file_gives_the_labels_and_the_score_of_torchvision(
    trained: Trained, expected: list[Reference], exported: Path, tmp_path: Path
) -> None:
    on_data = ("infer", "onnxruntime", exported, "--dataset", trained.data)
    run(*on_data, "--format-only", tmp_path / "maps")
    maps = [np.array(PIL_Image.open(file)) for file in sorted((tmp_path / "maps").glob("*.png"))]
    assert len(maps) == len(expected)
    for found, one in zip(maps, expected, strict=True):
        assert_equal(found, one)
    with torch.no_grad():  # of the last image, nothing is resized: neither it nor its scores
        own = trained.network(preprocess(trained.images[-1], EDGE))["out"].argmax(1)[0].numpy()
    assert np.array_equal(maps[-1][expected[-1].sure], own[expected[-1].sure])
    document = run(*on_data, "--eval", "mIoU")
    truth = np.concatenate([mask.ravel() for mask in trained.truths])
    labels = np.concatenate([one.labels.ravel() for one in expected])
    assert document["scores"]["mIoU"] == pytest.approx(mean_iou(labels, truth, len(CLASSES)), abs=1e-4)


def test_the_file_takes_odd_sizes_and_batches(trained: Trained, exported: Path) -> None:
    from torchvision_support.odd_sizes import assert_odd_sizes

    assert_odd_sizes(exported, trained.network)


@pytest.mark.nightly
def test_parity_compares_the_network_with_its_files(trained: Trained, tmp_path: Path) -> None:
    location, _, checkpoint, *options = trained.model
    document = run(
        *("analyze", "parity", location, checkpoint, *options, "--backend", "onnxruntime"),
        *("--work-dir", tmp_path / "work", "--dataset", trained.data),
    )
    (compared,) = document["runs"]
    assert compared["compared"]
    assert compared["scores"] == pytest.approx(document["reference"]["scores"], abs=1e-4)


def test_the_network_is_served(trained: Trained, expected: list[Reference]) -> None:
    mask = served_mask(trained.images[1], *trained.model, environment=proofs.environment())
    assert_equal(mask, expected[1])
