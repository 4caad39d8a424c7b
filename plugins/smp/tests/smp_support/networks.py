"""Tiny networks of smp with random weights, and smp's own way from an image to scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import segmentation_models_pytorch as smp
import torch
from torch import nn

from segplug.testing import randomise
from segplug.verification.sample import sample_image

__all__ = ["OWN", "TINY", "network", "own_scores", "saved"]

TINY = "tu-test_resnet"
"""An encoder of timm with 0.5 million parameters."""
OWN = "mobilenet_v2"
"""An encoder of smp itself."""

_SMALL: Mapping[str, Mapping[str, Any]] = {
    "Unet": {"decoder_channels": (24, 16, 16, 8, 8)},
    "FPN": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32},
    "DPT": {
        "encoder_depth": 2,
        "encoder_output_indices": [1, 3],
        "decoder_intermediate_channels": (16, 24),
        "decoder_fusion_channels": 16,
    },
}


def network(architecture: str = "Unet", encoder: str = TINY, **arguments: Any) -> Any:
    """A network in eval mode whose weights an error cannot hide behind."""
    given = {"classes": 3, "encoder_weights": None, **_SMALL.get(architecture, {}), **arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = getattr(smp, architecture)(encoder, **given)
    randomise(made)
    made.eval()
    if architecture != "DPT":
        _balance(made)
    return made


def _balance(made: Any) -> None:
    """Scale the scores of each class so that each covers a part of a picture."""
    head = made.segmentation_head[0]
    last, made.segmentation_head[2] = made.segmentation_head[2], nn.Identity()
    first = next(module for module in made.encoder.modules() if isinstance(module, nn.Conv2d))
    image = sample_image(128, 128, channels=first.in_channels) / 255.0
    with torch.inference_mode():
        scores = made(torch.from_numpy(image.transpose(2, 0, 1)[None]).float() * 4 - 2)
    scores = scores[0] if isinstance(scores, tuple) else scores
    middle, spread = scores.mean((0, 2, 3)), scores.std((0, 2, 3))
    head.bias.data = (head.bias.data - middle) / spread
    head.weight.data /= spread[:, None, None, None]
    made.segmentation_head[2] = last


def saved(folder: Path, architecture: str = "Unet", encoder: str = TINY, **arguments: Any) -> nn.Module:
    """A network that smp has saved in ``folder``."""
    made = network(architecture, encoder, **arguments)
    made.save_pretrained(folder)
    return made


def own_scores(
    made: nn.Module, image: npt.NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> npt.NDArray[np.float32]:
    """What smp's users run: its ``preprocess_input``, padding to multiples of 32, and the network.

    Args:
        made: A network.
        image: RGB ``(H, W, channels)``.
        mean: For pixels of 0 to 1.
        std: As ``mean``.
    """
    values = smp.encoders.preprocess_input(
        image, mean=list(mean), std=list(std), input_space="RGB", input_range=[0, 1]
    )
    height, width = image.shape[:2]
    padded = np.pad(values, ((0, -height % 32), (0, -width % 32), (0, 0)))
    with torch.inference_mode():
        scores = made(torch.from_numpy(padded.transpose(2, 0, 1)[None]).float())
    return scores[0, :, :height, :width].numpy()
