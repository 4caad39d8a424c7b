"""Synchronised batch norms become plain ones with the same tensors."""

from __future__ import annotations

import pytest
import torch
from segplug_torch.norms import BatchNorm, revert_sync_batchnorm
from torch import nn


def test_norms_of_any_rank_are_reverted_and_stay_shared():
    norm = nn.SyncBatchNorm(4)
    norm.running_mean.fill_(0.5)
    norm.weight.data.fill_(2.0)
    module = nn.ModuleDict({"a": nn.Sequential(norm), "b": nn.ModuleList([norm])}).eval()
    expected = nn.BatchNorm1d(4).eval()
    expected.load_state_dict(norm.state_dict())
    keys = list(module.state_dict())
    reverted = revert_sync_batchnorm(module)
    plain = reverted["a"][0]
    assert isinstance(plain, BatchNorm)
    assert reverted["b"][0] is plain
    assert list(reverted.state_dict()) == keys
    assert not plain.training
    for shape in ((2, 4), (2, 4, 5), (2, 4, 5, 6), (2, 4, 5, 6, 7)):
        values = torch.randn(shape)
        flat = plain(values).flatten(2) if values.dim() > 2 else plain(values)
        assert torch.equal(flat, expected(values.flatten(2) if values.dim() > 2 else values))


def test_a_norm_refuses_an_input_without_channels():
    with pytest.raises(ValueError, match="2 or more dimensions, not 1"):
        BatchNorm(4)(torch.zeros(4))
