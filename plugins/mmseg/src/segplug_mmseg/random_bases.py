"""SegNeXt's matrix decomposition, which mmseg starts from new random bases in every forward pass.

Two passes over one image then give two answers, and an exported file has one. The decomposition can also keep
its bases (``rand_init=False``): so here it gets some once, drawn with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch
from torch import nn

from segplug_mmseg.classes import is_a

__all__ = ["fix_random_bases"]

_DECOMPOSITION = "mmseg.models.decode_heads.ham_head.Matrix_Decomposition_2D_Base"
_HAMBURGER = "mmseg.models.decode_heads.ham_head.Hamburger"
_SEED = 0


def fix_random_bases(segmentor: nn.Module, given: Container[str] = ()) -> bool:
    """Give every decomposition of ``segmentor`` bases that stay, the same for each image of a batch.

    Args:
        segmentor: Changed in place; its ``state_dict`` is not, but for what is ``given``.
        given: Names of weights that are loaded afterwards. The framework saves the bases of a network that
            was trained with its own ``rand_init=False``.

    Returns:
        Whether bases were drawn that the framework would draw anew in each pass.
    """
    drawn = False
    for name, part in segmentor.named_modules():
        if not is_a(part, _HAMBURGER) or not is_a(part.ham, _DECOMPOSITION):
            continue
        ham: Any = part.ham
        kept = f"{name}.ham.bases" in given
        ham.register_buffer("bases", _bases(ham, part), persistent=kept)
        ham.rand_init = False
        drawn = drawn or not kept
    return drawn


def _bases(ham: Any, hamburger: Any) -> torch.Tensor:
    weight = hamburger.ham_in.conv.weight
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(_SEED)
        bases: torch.Tensor = ham._build_bases(1, ham.S, weight.shape[0] // ham.S, ham.R, device="cpu")
    return bases.to(weight.device)
