"""K-Net's kernels, which each image of a batch of any size has of its own."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from segplug_mmseg.installed import installed_mmseg
from torch import nn

CLASSES, CHANNELS = 5, 16


def update_head_options(**options):
    return {
        "num_classes": CLASSES,
        "num_heads": 2,
        "num_mask_fcs": 1,
        "feedforward_channels": 24,
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        # half the head's channels, as in K-Net's own configs: each kernel is updated in two parts
        "kernel_updator_cfg": {
            "type": {"0.x": "KernelUpdator", "1.x": "mmseg.KernelUpdator"}[installed_mmseg().generation],
            "in_channels": CHANNELS // 2,
            "feat_channels": CHANNELS // 2,
            "out_channels": CHANNELS // 2,
        },
        "feat_transform_cfg": {"conv_cfg": {"type": "Conv2d"}, "act_cfg": None},
        **options,
    }


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (2, 3)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"feat_transform_cfg": None, "with_ffn": False, "num_mask_fcs": 0},
        {"mask_transform_stride": 2},
        {"mask_transform_stride": 2, "feat_gather_stride": 2},
        {"conv_kernel_size": 3},
    ],
)
def test_updates_kernels_and_masks(options, size, randomised, distance):
    from mmseg.models.decode_heads.knet_head import KernelUpdateHead

    head = randomised(KernelUpdateHead(**update_head_options(**options)))
    x, masks = torch.randn(3, CHANNELS, *size), 5 * torch.randn(3, CLASSES, *size)
    edge = head.conv_kernel_size
    given = x, torch.randn(3, CLASSES, CHANNELS, edge, edge), masks
    for expected, actual in zip(head(*given), make_exportable(head)(*given), strict=True):
        assert distance(expected, actual) < 1e-5


class Head(nn.Module):
    """A whole decode head of two stages on one map."""

    def __init__(self) -> None:
        from mmseg.models.decode_heads.knet_head import IterativeDecodeHead

        super().__init__()
        first = {
            "type": "FCNHead",
            "in_channels": 6,
            "in_index": 0,
            "channels": CHANNELS,
            "num_convs": 1,
            "concat_input": False,
            "num_classes": CLASSES,
        }
        update = [{"type": "KernelUpdateHead", **update_head_options()} for _ in range(2)]
        self.head = IterativeDecodeHead(2, first, update)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head([x])


def test_one_exported_program_follows_batch_and_size(randomised, distance):
    head, any_size = randomised(Head()), torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(head),
        (torch.zeros(2, 6, 20, 26),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for shape in [(2, 6, 20, 26), (3, 6, 9, 33), (1, 6, 31, 8)]:
        x = torch.randn(shape)
        assert distance(head(x), program(x)) < 1e-5
