"""Segmentation networks of torchvision with random weights, and what torchvision says of an image.

torchvision's builders have no smaller networks than the real ones: 3 to 61 million weights. All weights and
statistics are random, and the last layers are scaled and moved by what sample images give, so that at least
three classes each cover more than 5% of each of them (``SIZES``, ``SEEDS``). ``reference`` computes labels
and scores with torchvision alone. torchvision has to be importable (``scripts.proofs``).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from segplug.testing import randomise

CLASSES = ("road", "building", "vegetation", "sky", "car")
EDGE = 64
"""The short edge that the sample images are resized to: 520, as torchvision has it, takes seconds."""
SIZES = ((75, 131), (97, 61))
SEEDS = (0, 1)
"""The sample images that a network is balanced for: each seed in each size (height, width)."""

_LAST = {"lraspp": ("classifier.low_classifier", "classifier.high_classifier")}
"""The layers whose results are added up to the scores, where it is not the last of ``classifier``."""


def sample_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an uint8 RGB image (height, width, 3) with areas, edges and noise.

    A seed gives the same image for the same size, and images that look alike for other sizes.
    """
    random = np.random.default_rng(seed)
    areas = random.integers(0, 256, (5, 6, 3), np.uint8)
    rows = (np.arange(height) * 5) // height
    columns = (np.arange(width) * 6) // width
    image = areas[rows][:, columns].astype(np.float64)
    image += 40 * np.sin(np.linspace(0, 20, height))[:, None, None] + random.normal(0, 8, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def build(name: str, *, num_classes: int = len(CLASSES), aux: bool = False) -> Any:
    """Return a network with random weights, in evaluation mode: the same each time.

    Args:
        name: One of :data:`matrix.torchvision_models.NAMES`.
        num_classes: Its number of classes.
        aux: Whether it has the auxiliary classifier, as the weights that torchvision publishes have; LR-ASPP
            has none.

    Raises:
        RuntimeError: No seed gives three classes that each cover more than 5% of the sample images.
    """
    from torchvision import models

    network = models.get_model(
        name, weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=aux or None
    ).eval()
    inputs = [
        preprocess(sample_image(*size, seed), edge=EDGE) for size, seed in itertools.product(SIZES, SEEDS)
    ]
    for seed in range(20):
        randomise(network, seed)
        _calibrate(network, name, inputs)
        with torch.no_grad():
            labels = [network(one)["out"].argmax(1).flatten() for one in inputs]
        shares = [torch.bincount(one, minlength=num_classes) / one.numel() for one in labels]
        if all((share > 0.06).sum() >= 3 for share in shares):
            return network
    raise RuntimeError(f"No seed gives three classes that are seen: {name}")


def save(name: str, folder: Path, *, num_classes: int = len(CLASSES), aux: bool = False) -> Path:
    """Write the weights of a network as ``torch.save`` does, to ``NAME.pth`` in a folder; return the file.

    Args:
        name: One of :data:`matrix.torchvision_models.NAMES`.
        folder: It is made if it is not there.
        num_classes: As for :func:`build`.
        aux: As for :func:`build`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.pth"
    torch.save(build(name, num_classes=num_classes, aux=aux).state_dict(), file)
    return file


def preprocess(image: np.ndarray, edge: int = 520, form: Literal["pil", "tensor"] = "pil") -> torch.Tensor:
    """What torchvision's preset makes of an image, as a batch of one.

    Args:
        image: An uint8 RGB image (H, W, 3).
        edge: The short edge that the preset resizes to.
        form: Whether the preset is given an image of Pillow, or a tensor, which it resizes differently.
    """
    from PIL import Image
    from torchvision.transforms._presets import SemanticSegmentation

    given = Image.fromarray(image) if form == "pil" else torch.from_numpy(image).permute(2, 0, 1)
    prepared: torch.Tensor = SemanticSegmentation(resize_size=edge)(given)
    return prepared[None]


def reference(
    network: nn.Module, image: np.ndarray, edge: int = 520, form: Literal["pil", "tensor"] = "pil"
) -> tuple[np.ndarray, np.ndarray]:
    """Return what torchvision says of an image: its preset, its network, and the scores at the image's size.

    Args:
        network: What :func:`build` returned, or another network of torchvision.
        image: An uint8 RGB image (H, W, 3).
        edge: As for :func:`preprocess`.
        form: As for :func:`preprocess`.

    Returns:
        Labels (H, W) int64, and scores (C, H, W) float32.
    """
    with torch.no_grad():
        scores = network(preprocess(image, edge, form))["out"]
        scores = nn.functional.interpolate(scores, size=image.shape[:2], mode="bilinear")[0]
    return scores.argmax(0).numpy(), scores.numpy()


def _calibrate(network: nn.Module, name: str, inputs: list[torch.Tensor]) -> None:
    """Scale the layers that give the scores so that each class has mean 0 and deviation 1."""
    classifier = network.get_submodule("classifier")
    default = (f"classifier.{len(list(classifier.children())) - 1}",)
    layers = [network.get_submodule(path) for path in _LAST.get(name.split("_", maxsplit=1)[0], default)]
    with torch.no_grad():
        scores = torch.cat([network(one)["out"].transpose(0, 1).flatten(1) for one in inputs], 1)
        scale = 1 / scores.std(1)
        for layer in layers:
            layer.weight.mul_(scale[:, None, None, None])
            layer.bias.mul_(scale)
        layers[0].bias -= scores.mean(1) * scale
