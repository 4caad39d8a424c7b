"""Random weights of networks of mmsegmentation 1.x that have no checkpoint."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch import nn

from segplug_mmseg.classes import is_a

__all__ = ["initialise"]

_RECOGNITION = "mmseg.models.decode_heads.san_head.RecWithAttnbias"
_TEXT_ENCODER = "mmseg.models.text_encoder.clip_text_encoder.CLIPTextEncoder"


def initialise(segmentor: nn.Module) -> None:
    """Run mmseg's ``init_weights``, also for SAN, which mmseg can only build with a checkpoint of CLIP.

    The layers of its recognition keep the values that torch gave them; two tables of its text encoder, which
    mmseg leaves as it finds the memory, get small ones, as in CLIP.
    """
    with ExitStack() as stack, torch.no_grad():
        for part in segmentor.modules():
            found: Any = part
            if is_a(part, _RECOGNITION):
                stack.enter_context(mock.patch.object(part, "init_weights", return_value=None))
            elif is_a(part, _TEXT_ENCODER):
                found.positional_embedding.normal_(std=0.01)
                found.text_projection.normal_(std=found.text_projection.shape[0] ** -0.5)
        segmentor.init_weights()  # type: ignore[operator]
