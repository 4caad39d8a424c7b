"""Synchronised batch norms as plain ones: the synchronised kind runs on GPUs only."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["BatchNorm", "revert_sync_batchnorm"]


class BatchNorm(_BatchNorm):
    """Batch normalisation of an input of any rank, ``(N, C)`` or ``(N, C, ...)``."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected an input of 2 or more dimensions, not {input.dim()}")


def revert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Replace every synchronised batch norm in ``module`` by a plain one with the same tensors.

    ``nn.SyncBatchNorm`` takes inputs of any rank, and so does its replacement (EncNet and FastFCN normalise
    a vector). A norm that is registered in two places stays one norm.
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
