"""An mmseg network in the form of segplug's contract: a function of one tensor.

Nothing here knows a config, a checkpoint or a data container, and nothing imports mmcv: this serves every
generation of the framework.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["TensorSegmentor", "first_channels"]


class TensorSegmentor(nn.Module):
    """A segmentor as a plain function of a tensor.

    float32 ``(N, in_channels, H, W)``, preprocessed → float32 logits ``(N, C, H, W)`` at the input's size,
    before softmax or sigmoid. Always one pass over the whole input: the runtime slides the window of a
    ``slide`` model. ``segmentor`` is mmseg's own module, with its parameter names.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.segmentor: Any = segmentor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.segmentor.encode_decode(images, self._metas(images))
        return logits

    def _metas(self, images: torch.Tensor) -> list[dict[str, Any]] | None:
        """What segmentors of 1.x want to know of the images: their heads resize logits to that size."""
        if not hasattr(self.segmentor, "data_preprocessor"):
            return None
        batch, size = images.shape[0], images.shape[2:]
        # A head may ask for those of each image. Of a batch that is only known later there can be one list
        # alone: the exportable forms need no more.
        count = batch if type(batch) is int else 1
        return [{"img_shape": size, "pad_shape": size, "ori_shape": size} for _ in range(count)]

    def takes(self, channels: int) -> bool:
        """Whether the network runs with so many input channels. It is in eval mode."""
        try:
            with torch.no_grad():
                self(torch.zeros(1, channels, *_TRIED_SIZE, device=next(self.parameters()).device))
        except Exception:  # a network of the user's own may raise anything
            return False
        return True


_TRIED_SIZE = (512, 512)
"""A (height, width) that most networks take."""


def first_channels(backbone: nn.Module) -> int | None:
    """The input channels of the first convolution, in the order of definition; ``None``: there is none."""
    convolutions = (module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    first = next(convolutions, None)
    return None if first is None else first.in_channels
