"""Networks that give a class and a mask for each query, and the scores that these make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

__all__ = ["QUERIES", "QueryOutputs", "QueryScores", "scores_of_queries"]


@dataclass(frozen=True)
class QueryOutputs:
    """How a network of queries is called, and what its outputs are named."""

    classes: str = "class_queries_logits"
    """``(N, queries, classes + 1)``: logits; the last is for "no object"."""
    masks: str = "masks_queries_logits"
    """``(N, queries, h, w)``: logits."""
    video: bool = False
    """Whether it takes videos ``(N, frames, C, H, W)``. An image is one of one frame."""
    resize: Literal["none", "fixed", "input"] = "none"
    """To what size its post-processing resizes the masks before it computes scores."""


QUERIES: Mapping[str, QueryOutputs] = {
    "detr": QueryOutputs("logits", "pred_masks"),
    "eomt": QueryOutputs(resize="input"),
    "eomt_dinov3": QueryOutputs(resize="input"),
    "mask2former": QueryOutputs(resize="fixed"),
    "maskformer": QueryOutputs(),
    "videomt": QueryOutputs(video=True),
}
"""For each ``model_type``, except OneFormer's."""


class QueryScores(nn.Module):
    """A network of queries, whose classes and masks become a score for each class and pixel."""

    def __init__(
        self, model: nn.Module, outputs: QueryOutputs, mask_size: tuple[int, int] | None = None
    ) -> None:
        """Wrap a network.

        Args:
            model: A network of transformers.
            outputs: What it takes and gives.
            mask_size: (height, width) of the masks before they become scores, for ``outputs.resize`` of
                ``fixed``.
        """
        super().__init__()
        self.model = model
        self._outputs = outputs
        self._mask_size = mask_size

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Args:
            pixel_values: float32 ``(N, C, H, W)``.

        Returns:
            float32 scores ``(N, classes, h, w)``: not negative, at most the number of queries.
        """
        if self._outputs.video:
            found = self.model(pixel_values_videos=pixel_values.unsqueeze(1), return_dict=True)
        else:
            found = self.model(pixel_values, return_dict=True)
        masks: torch.Tensor = getattr(found, self._outputs.masks)
        size: Any = {"none": None, "fixed": self._mask_size, "input": pixel_values.shape[-2:]}
        if self._outputs.resize != "none":
            masks = functional.interpolate(
                masks, size=size[self._outputs.resize], mode="bilinear", align_corners=False
            )
        return scores_of_queries(getattr(found, self._outputs.classes), masks)


def scores_of_queries(classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Sum the masks of all queries, each by how likely its query is of a class.

    Args:
        classes: float32 logits ``(N, queries, classes + 1)``; the last is for "no object".
        masks: float32 logits ``(N, queries, h, w)``.

    Returns:
        float32 ``(N, classes, h, w)``.
    """
    probabilities = classes.softmax(dim=-1)[..., :-1]
    return torch.einsum("bqc, bqhw -> bchw", probabilities, masks.sigmoid())
