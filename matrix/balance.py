"""Scale the last layers of a network with random weights, so that every class is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from segplug.model import SegmentationModel

__all__ = ["balance"]

OFTEN = 0.05
"""The least share of a class that is often."""
LEAST_OFTEN = 3
"""So many classes are often; those of fewer classes all are."""
STEP = 0.1
"""What is added to the scores of a class that is too rare, in each of ``ROUNDS``."""
ROUNDS = 30


def balance(model: SegmentationModel, layers: Sequence[Any], size: tuple[int, int]) -> None:
    """Give the scores of each class deviation 1 on the sample image of a (height, width), and mean 0.

    The mean of a class that is not seen then is raised until it is; and while too few are often, that of the
    most frequent one of the others.

    Args:
        model: The network, which gives each class's scores as they are.
        layers: The convolutions whose results are added up to the scores.
        size: A size that the network takes.

    Raises:
        RuntimeError: a class is not seen, or too few are often.
    """
    import torch

    from matrix.inputs import sample_input

    image = torch.from_numpy(sample_input(model.meta, size))[None]
    with torch.no_grad():
        scores = model.module(image).transpose(0, 1).flatten(1)
        factor = 1 / scores.std(1)
        for layer in layers:
            layer.weight *= factor.view(-1, 1, 1, 1)
            layer.bias *= factor
        layers[0].bias -= scores.mean(1) * factor
        shares = _shares(model, image)
        for _ in range(ROUNDS):
            if (shares > 0).all():
                break
            layers[0].bias[shares == 0] += STEP
            shares = _shares(model, image)
        for _ in range(ROUNDS):
            rare = shares.masked_fill(shares > OFTEN, -1)
            if (rare < 0).sum() >= min(LEAST_OFTEN, len(shares)):
                break
            layers[0].bias[rare.argmax()] += STEP
            shares = _shares(model, image)
    often = int((shares > OFTEN).sum())
    if not (shares > 0).all() or often < min(LEAST_OFTEN, len(shares)):
        raise RuntimeError(
            f"{len(shares)} classes, of which {int((shares > 0).sum())} are seen, {often} often"
        )


def _shares(model: SegmentationModel, image: torch.Tensor) -> torch.Tensor:
    """The share of the image that each class covers."""
    scores = model.module(image)[0].flatten(1)
    classes = len(scores)
    if classes == 1 or model.meta.multilabel:
        return (scores > 0).float().mean(1)
    return scores.argmax(0).bincount(minlength=classes) / scores.shape[1]
