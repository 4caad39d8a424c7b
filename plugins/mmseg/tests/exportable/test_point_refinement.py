"""PointRend's refined points on maps of any size, also of fewer cells than points are asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from segplug_torch.exportable.registry import forms_of
from torch import nn

CLASSES = 4
TEST_CFG = SimpleNamespace(subdivision_steps=2, subdivision_num_points=150, scale_factor=2)
SIZES = [(12, 16), (3, 5), (2, 3)]
"""Of a coarse map. Both steps have more cells than points, then only the second, then none."""


class Refines(nn.Module):
    """The point head alone, on features and the coarse logits it refines."""

    def __init__(self, align_corners: bool = False, levels: int = 1) -> None:
        from mmseg.models.decode_heads.point_head import PointHead

        super().__init__()
        self.head = PointHead(
            in_channels=[6] * levels,
            in_index=list(range(levels)),
            channels=8,
            num_classes=CLASSES,
            dropout_ratio=-1,
            align_corners=align_corners,
        )

    def forward(self, coarse: torch.Tensor, *levels: torch.Tensor) -> torch.Tensor:
        if hasattr(self.head, "forward_test"):
            return self.head.forward_test(levels, coarse, None, TEST_CFG)
        size = [4 * edge for edge in coarse.shape[2:]]  # that of the refined map: it is not resized
        return self.head.predict(levels, coarse, [{"img_shape": size}], TEST_CFG)


def coarse_logits(batch: int, size: tuple[int, int]) -> torch.Tensor:
    return 3 * torch.randn(batch, CLASSES, *size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("align_corners", "levels"), [(False, 1), (True, 2)])
def test_refines_what_mmseg_refines(size, align_corners, levels, randomised, distance):
    network = randomised(Refines(align_corners, levels))
    given = coarse_logits(3, size), *(torch.randn(3, 6, *size) for _ in range(levels))
    refined = network(*given)
    assert distance(refined, make_exportable(network)(*given)) < 1e-5
    unrefined = torch.nn.functional.interpolate(
        given[0], scale_factor=4, mode="bilinear", align_corners=align_corners
    )
    assert distance(unrefined, refined) > 1e-2  # the points make a difference


@pytest.mark.parametrize("size", SIZES)
def test_chooses_the_same_points(size, randomised):
    from mmseg.models.decode_heads.point_head import calculate_uncertainty

    network, logits = randomised(Refines()), coarse_logits(2, size)
    expected = network.head.get_points_test(logits, calculate_uncertainty, TEST_CFG)
    actual = make_exportable(network).head.get_points_test(logits, calculate_uncertainty, TEST_CFG)
    assert expected[0].shape[1] == min(size[0] * size[1], TEST_CFG.subdivision_num_points)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


MANY = SimpleNamespace(subdivision_num_points=8196)
"""More than TensorRT finds at once."""


def uncertainty_of(batch: int, size: tuple[int, int]) -> torch.Tensor:
    """All different: of equal ones, which comes first is up to the library."""
    cells = size[0] * size[1]
    return torch.stack([torch.randperm(cells) for _ in range(batch)]).float().reshape(batch, 1, *size)


@pytest.mark.parametrize("size", [(96, 100), (90, 91), (50, 60), (2, 2)])
def test_many_points_are_the_same_in_the_same_order(size, randomised):
    """More cells than points, a few fewer, as many as one turn could find, and hardly any."""
    network, uncertainty = randomised(Refines()), uncertainty_of(2, size)
    expected = network.head.get_points_test(uncertainty, nn.Identity(), MANY)
    actual = make_exportable(network).head.get_points_test(uncertainty, nn.Identity(), MANY)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_no_more_points_are_chosen_at_once_than_tensorrt_allows(randomised, monkeypatch):
    asked, topk = [], torch.Tensor.topk

    def counted(self: torch.Tensor, count: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(count)
        return topk(self, count, dim=dim)

    monkeypatch.setattr(torch.Tensor, "topk", counted)
    head = make_exportable(randomised(Refines())).head
    head.get_points_test(uncertainty_of(1, (100, 100)), nn.Identity(), MANY)
    assert asked == [2732, 2732, 2732]


def test_one_exported_program_follows_batch_and_size(randomised, distance):
    network, any_size = randomised(Refines()), torch.export.Dim.DYNAMIC
    free = {0: any_size, 2: any_size, 3: any_size}
    program = torch.export.export(
        make_exportable(network),
        (torch.zeros(2, CLASSES, 20, 26), torch.zeros(2, 6, 20, 26)),
        dynamic_shapes=(free, (free,)),
    )
    assert any("grid_sampler" in str(node.target) for node in program.graph.nodes)
    for batch, size in zip((2, 1, 3), SIZES, strict=True):
        given = coarse_logits(batch, size), torch.randn(batch, 6, *size)
        assert distance(network(*given), program.module()(*given)) < 1e-5


def test_a_subclass_that_chooses_otherwise_keeps_its_choice(mmseg):
    from mmseg.models.decode_heads.point_head import PointHead

    class Other(PointHead):
        def get_points_test(self, *args):
            raise NotImplementedError

    options = {"in_channels": [6], "in_index": [0], "channels": 8, "num_classes": CLASSES}
    assert "get_points_test" in forms_of(PointHead(**options))
    assert "get_points_test" not in forms_of(Other(**options))
    assert "_get_coarse_point_feats" in forms_of(Other(**options))
