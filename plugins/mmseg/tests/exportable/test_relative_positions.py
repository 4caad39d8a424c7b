"""BEiT's and MAE's attention, with the index of relative positions made instead of kept."""

from __future__ import annotations

import math

import onnx
import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from segplug_torch.exportable.relative_positions import relative_position_index

WINDOW = (3, 5)


@pytest.fixture(scope="module")
def beit(mmseg):
    from mmseg.models.backbones import beit

    return beit


@pytest.mark.parametrize("window", [WINDOW, (4, 4), (1, 2)])
def test_the_index_is_mmsegs(window, beit):
    kept = beit.BEiTAttention(8, 2, window).relative_position_index
    torch.testing.assert_close(relative_position_index(*window, torch.device("cpu")), kept, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"bias": False}, {"qk_scale": 0.3}])
def test_attention(options, beit, randomised, distance):
    attention, x = randomised(beit.BEiTAttention(8, 2, WINDOW, **options)), torch.randn(3, 16, 8)
    assert distance(attention(x), make_exportable(attention)(x)) < 1e-5


@pytest.mark.parametrize("name", ["BEiT", "MAE"])
def test_backbone(name, mmseg, randomised, distance):
    from mmseg.models import backbones

    network = getattr(backbones, name)(
        (64, 48), 16, embed_dims=8, num_layers=2, num_heads=2, out_indices=(0, 1)
    )
    randomised(network)
    # As many patches in another shape, and pixels that fill no patch, are what mmseg takes beside 64 x 48.
    for size in [(64, 48), (48, 64), (70, 63), (32, 96)]:
        x = torch.randn(2, 3, *size)
        for expected, actual in zip(network(x), make_exportable(network)(x), strict=True):
            assert distance(expected, actual) < 1e-5
    for module in (network, make_exportable(network)):
        with pytest.raises(RuntimeError, match="must match the size"):
            module(torch.randn(1, 3, 64, 64))


def test_a_file_holds_no_index(beit, randomised, tmp_path):
    rows = columns = 12  # small windows' indices are folded away in any case
    tokens = 1 + rows * columns
    attention = randomised(beit.BEiTAttention(8, 2, (rows, columns)))
    program = torch.onnx.export(
        make_exportable(attention), (torch.zeros(1, tokens, 8),), dynamo=True, verbose=False
    )
    program.save(tmp_path / "attention.onnx")
    kept = onnx.load(tmp_path / "attention.onnx").graph.initializer
    assert max(math.prod(tensor.dims) for tensor in kept) < tokens * tokens
