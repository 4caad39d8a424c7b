"""SAN's text encoder, folded into what it gives for the names of the classes.

mmseg encodes the names of all classes, each in many sentences, when the network first runs. The result does
not depend on the image: it is computed once, and the encoder's weights (63 million of CLIP's) are let go.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segplug_mmseg.classes import is_a

__all__ = ["fold_text_encoder"]

_TEXT_ENCODER = "mmseg.models.text_encoder.clip_text_encoder.CLIPTextEncoder"


def fold_text_encoder(segmentor: nn.Module) -> None:
    """Replace the text encoder of ``segmentor``, if it has one, by its output; in place.

    Its weights are no longer in ``state_dict``, so load a checkpoint before.
    """
    encoder: Any = getattr(segmentor, "text_encoder", None)
    if is_a(encoder, _TEXT_ENCODER):
        encoder.eval()
        _read_no_further_than_needed(encoder)
        with torch.no_grad():
            segmentor.text_encoder = _Embeddings(encoder())


def _read_no_further_than_needed(encoder: Any) -> None:
    """Let it skip the places after the longest sentence of a batch: 77 are filled up, and about 12 used.

    No word attends to a later one, so what they hold changes nothing.
    """
    positions, mask, encode = encoder.positional_embedding, encoder.attn_mask, encoder.encode_text

    def encode_text(text: Tensor, normalize: bool = False) -> Tensor:
        length = int(text.argmax(dim=-1).max()) + 1  # a sentence ends with the highest number
        encoder.positional_embedding = nn.Parameter(positions[:length], requires_grad=False)
        encoder.attn_mask = mask[:length, :length]
        encoded: Tensor = encode(text[:, :length], normalize=normalize)
        return encoded

    encoder.encode_text = encode_text


class _Embeddings(nn.Module):
    """Gives the same tensor, (classes, width), in each pass."""

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)

    def forward(self) -> Tensor:
        embeddings: Tensor = self.embeddings  # type: ignore[assignment]
        return embeddings
