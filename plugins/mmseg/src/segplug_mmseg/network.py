"""Segmentation networks of the mm family behind segplug's tensor contract.

Nothing here knows a config, a checkpoint or a data container, and nothing imports mmcv: what is
here serves every generation of the framework.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["BatchNorm", "TensorSegmentor", "revert_sync_batchnorm"]


class TensorSegmentor(nn.Module):
    """A segmentor as a plain function of a tensor.

    float32 ``(N, 3, H, W)``, normalised → float32 logits ``(N, C, H, W)`` at the input's size,
    before softmax or sigmoid. Always one pass over the whole input: sliding a window is the
    runtime's work. The framework's own module, with its parameter names, is ``segmentor``.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.segmentor: Any = segmentor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.segmentor.encode_decode(images, None)
        return logits


class BatchNorm(_BatchNorm):
    """Batch normalisation of an input of any rank, ``(N, C)`` or ``(N, C, ...)``."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected an input of 2 or more dimensions, not {input.dim()}")


def revert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Replace every synchronised batch norm below ``module`` by a plain one with the same tensors.

    ``nn.SyncBatchNorm`` takes inputs of any rank, so what replaces it does too (EncNet and FastFCN
    norm a vector). A norm that is registered in two places stays one norm.
    """
    return _reverted(module, {})


def _reverted(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    if module in done:
        return done[module]
    if isinstance(module, nn.SyncBatchNorm):
        plain = _plain(module)
        done[module] = plain
        return plain
    done[module] = module
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _reverted(child, done)
    return module


def _plain(norm: nn.SyncBatchNorm) -> BatchNorm:
    plain = BatchNorm(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
    )
    plain._parameters.update(norm._parameters)
    plain._buffers.update(norm._buffers)
    return plain.train(norm.training)
