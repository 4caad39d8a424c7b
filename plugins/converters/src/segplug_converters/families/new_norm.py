"""A LayerNorm that mmseg's backbone has after a stage and classification weights lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug_converters import Rule, make

if TYPE_CHECKING:
    import torch

__all__ = ["new_norm"]

_WHY = "the norm of a stage's output, with its initial values"


def new_norm(target: str, like: str) -> tuple[Rule, Rule]:
    """Rules that make its initial values, the same as mmseg's: weight 1, bias 0.

    Args:
        target: mmseg's name of the norm.
        like: mmseg's name of another norm with as many channels.
    """
    return (
        make(f"{target}.weight", f"{like}.weight", _WHY, _ones),
        make(f"{target}.bias", f"{like}.bias", _WHY, _zeros),
    )


def _ones(like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.ones_like(like)


def _zeros(like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.zeros_like(like)
