"""Twins on sizes that its windows divide, divide on one side, and do not divide."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from segplug_mmseg.exportable.twins import padding_mask

SIZES = [(7, 7), (14, 21), (13, 9), (3, 5), (8, 28), (14, 5)]

SMALL = {"embed_dims": [4, 8, 8, 16], "num_heads": [1, 2, 2, 4], "mlp_ratios": [2, 2, 2, 2]}


def reference_mask(height: int, width: int, window: int) -> torch.Tensor:
    """The mask, position by position."""
    down, right = -height % window, -width % window
    rows, columns = (height + down) // window, (width + right) // window
    marked = torch.zeros(height + down, width + right)
    marked[height if down else 0 :] = 1
    marked[:, width if right else 0 :] = 1
    windows = marked.reshape(rows, window, columns, window).transpose(1, 2).reshape(rows * columns, -1)
    return torch.where(windows[:, :, None] == windows[:, None, :], 0.0, -1000.0)


@pytest.mark.parametrize("size", SIZES)
def test_the_mask_parts_image_and_padding_where_both_sides_are_padded(size):
    mask = padding_mask(size, 7, torch.zeros(1))
    torch.testing.assert_close(mask, reference_mask(*size, 7), rtol=0, atol=0)
    assert mask.any() == (size[0] % 7 != 0 and size[1] % 7 != 0)


@pytest.mark.parametrize("size", SIZES)
def test_window_attention(size, mmseg, randomised, distance):
    from mmseg.models.backbones.twins import LocallyGroupedSelfAttention

    attention = randomised(LocallyGroupedSelfAttention(8, 2, qkv_bias=True, window_size=7))
    x = torch.randn(2, size[0] * size[1], 8)
    assert distance(attention(x, size), make_exportable(attention)(x, size)) < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
def test_position_encoding(stride, mmseg, randomised, distance):
    from mmseg.models.backbones.twins import ConditionalPositionEncoding

    encoding = randomised(ConditionalPositionEncoding(4, 4, stride))
    x = torch.randn(2, 5 * 9, 4)
    assert distance(encoding(x, (5, 9)), make_exportable(encoding)(x, (5, 9))) < 1e-5


@pytest.mark.parametrize("size", [(224, 224), (95, 130), (32, 70)])
@pytest.mark.parametrize("norm_after_stage", [False, True])
@pytest.mark.parametrize("name", ["PCPVT", "SVT"])
def test_backbone(name, norm_after_stage, size, mmseg, randomised, distance):
    from mmseg.models import backbones

    options = {
        **SMALL,
        "depths": [1, 2, 1, 1],
        "sr_ratios": [8, 4, 2, 1],
        "norm_after_stage": norm_after_stage,
    }
    if name == "SVT":
        options["windiow_sizes"] = [7, 7, 7, 7]
    network = randomised(getattr(backbones, name)(**options))
    x = torch.randn(2, 3, *size)
    for expected, actual in zip(network(x), make_exportable(network)(x), strict=True):
        assert distance(expected, actual) < 1e-5


class OfMaps(torch.nn.Module):
    """Window attention of (N, H, W, C), which only the exportable form takes."""

    def __init__(self, attention: torch.nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x.shape[1:3])


def test_one_exported_program_follows_the_size(mmseg, randomised, distance):
    from mmseg.models.backbones.twins import LocallyGroupedSelfAttention

    attention = randomised(LocallyGroupedSelfAttention(4, 2, qkv_bias=True, window_size=3))
    any_size = torch.export.Dim.DYNAMIC
    exported = torch.export.export(
        make_exportable(OfMaps(attention)),
        (torch.zeros(2, 13, 20, 4),),
        dynamic_shapes=({0: any_size, 1: any_size, 2: any_size},),
    )
    # Cutting padding off leaves a tensor contiguous or not: torch guards what it saw, which no file keeps.
    program = exported.module(check_guards=False)
    for shape in [(1, 6, 9, 4), (2, 5, 12, 4), (1, 9, 4, 4), (1, 11, 7, 4)]:
        x = torch.randn(shape)
        expected = attention(x.flatten(1, 2), shape[1:3])
        assert distance(expected, program(x).flatten(1, 2)) < 1e-5, shape
