"""Random weights for untrained networks, with which every error changes the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["randomise"]


def randomise(module: torch.nn.Module, seed: int = 7) -> None:
    """Give every parameter and statistic of ``module`` a seeded value that shows in the output.

    Initial weights hide mistakes: position tables, scales of attention and biases start
    at zero, norms at one. Here weights keep the scale of activations from layer to layer, and everything
    else is far from zero. The values depend on the order of the parameters and on ``seed`` only.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            means, variances = getattr(part, "running_mean", None), getattr(part, "running_var", None)
            if means is not None and variances is not None:
                means.normal_(0, 0.1, generator=generator)
                variances.uniform_(0.5, 1.5, generator=generator)
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1:
                spread = 0.5 if "bias" in name or "pos_embed" in name else parameter[0].numel() ** -0.5
                parameter.normal_(0, spread, generator=generator)
            else:
                parameter.uniform_(0.1, 1.0, generator=generator)
