"""Multi-head attention with an axis for the batch, the tokens and the heads each."""

from __future__ import annotations

import pytest
import torch
from segplug_torch.exportable.attention import attend, cross_attention, is_plain, self_attention, split_heads
from torch import nn


@pytest.mark.parametrize("scale", [None, 0.3])
def test_attend_is_scaled_dot_product_attention(scale):
    q, k, v = (torch.randn(2, 3, length, 4) for length in (5, 7, 7))
    bias = torch.randn(5, 7)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, bias, scale=scale)
    actual = attend(q, k, v, bias=bias, scale=scale)
    torch.testing.assert_close(actual, expected.transpose(1, 2).flatten(2), rtol=1e-5, atol=1e-6)


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def attention(request):
    return nn.MultiheadAttention(8, 2, bias=request.param, batch_first=True).eval()


def test_attention_of_torch_with_one_source_and_with_two(attention):
    tokens, others = torch.randn(2, 11, 8), torch.randn(2, 5, 8)
    expected, _ = attention(tokens, tokens, tokens)
    torch.testing.assert_close(self_attention(attention, tokens), expected, rtol=1e-5, atol=1e-6)
    expected, _ = attention(tokens, others, others)
    torch.testing.assert_close(cross_attention(attention, tokens, others), expected, rtol=1e-5, atol=1e-6)


def test_what_is_plain(attention):
    assert is_plain(attention)
    for options in ({"kdim": 6}, {"add_bias_kv": True}, {"add_zero_attn": True}):
        assert not is_plain(nn.MultiheadAttention(8, 2, **options))


def test_heads_are_split_off_the_last_axis():
    tokens = torch.arange(24.0).reshape(1, 3, 8)
    assert torch.equal(split_heads(tokens, 2)[0, 1], tokens[0, :, 4:])
