"""The multi-head attention of mmcv and of SegFormer."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable


@pytest.fixture(scope="module")
def multihead(mmseg, randomised):
    from mmcv.cnn.bricks.transformer import MultiheadAttention

    return lambda **options: randomised(MultiheadAttention(8, 2, **options))


@pytest.mark.parametrize("options", [{"batch_first": True}, {"batch_first": False}, {"bias": False}])
def test_one_source(options, multihead, distance):
    attention = multihead(**options)
    exportable = make_exportable(attention)
    x, identity = torch.randn(2, 11, 2, 8).unbind(0)
    assert distance(attention(x), exportable(x)) < 1e-5
    assert distance(attention(x, identity=identity), exportable(x, identity=identity)) < 1e-5
    assert distance(attention(x, x, x, identity), exportable(x, x, x, identity)) < 1e-5


def test_what_it_does_not_know_is_left_to_the_original(multihead, distance):
    x, other = torch.randn(11, 2, 8), torch.randn(5, 2, 8)
    mask = torch.rand(11, 11) > 0.5
    mask.fill_diagonal_(False)
    attention = multihead()
    exportable = make_exportable(attention)
    for given in [{"key": other}, {"attn_mask": mask}, {"query_pos": x.flip(0)}]:
        assert distance(attention(x, **given), exportable(x, **given)) < 1e-5, given
    for options in [{"kdim": 6, "vdim": 6}, {"add_bias_kv": True}, {"add_zero_attn": True}]:
        attention = multihead(**options)
        key = torch.randn(5, 2, 6) if "kdim" in options else None
        assert distance(attention(x, key), make_exportable(attention)(x, key)) < 1e-5, options


@pytest.mark.parametrize(
    "options", [{}, {"sr_ratio": 2}, {"sr_ratio": 2, "qkv_bias": True}, {"batch_first": False}]
)
def test_segformers_attention(options, mmseg, randomised, distance):
    from mmseg.models.backbones.mit import EfficientMultiheadAttention

    attention = randomised(EfficientMultiheadAttention(8, 2, **{"batch_first": True, **options}))
    exportable = make_exportable(attention)
    for size in [(4, 6), (5, 7), (2, 9)]:
        x = torch.randn(2, size[0] * size[1], 8)
        for identity in (None, 0.0, torch.randn_like(x)):
            expected = attention(x, size, identity)
            assert distance(expected, exportable(x, size, identity)) < 1e-5
        assert distance(attention(x, size), exportable(x.unflatten(1, size), size).flatten(1, 2)) < 1e-5
