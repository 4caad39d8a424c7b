"""PSANet's head: the way to shrink that the size decides, both directions, and an operator in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from segplug_mmseg.exportable.point_attention import interpolation
from torch import nn

SIZES = [(8, 10), (9, 7), (8, 9), (3, 12), (3, 3)]
"""Of the map: halved exactly; neither side (corners are aligned); one side only, twice; to almost nothing."""


@pytest.fixture
def psa_head(randomised) -> Callable[..., nn.Module]:
    def build(**options: Any) -> nn.Module:
        from mmseg.models.decode_heads import PSAHead

        defaults = {"mask_size": (5, 7), "align_corners": False, "norm_cfg": {"type": "BN"}}
        return randomised(PSAHead(in_channels=6, channels=4, num_classes=3, **{**defaults, **options}))

    return build


VARIANTS = [
    {},
    {"psa_type": "collect"},
    {"psa_type": "distribute", "psa_softmax": False, "normalization_factor": None},
    {"shrink_factor": 1, "align_corners": True},
    {"shrink_factor": 3, "normalization_factor": 2.0},
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", VARIANTS)
def test_the_head(options, size, psa_head, distance):
    head, x = psa_head(**options), [torch.randn(2, 6, *size)]
    assert distance(head(x), make_exportable(head)(x)) < 1e-5


def test_the_attention_matters(psa_head, distance):
    head, x = psa_head(), [torch.randn(2, 6, 9, 8)]
    expected = head(x)
    for attention in (head.attention, head.attention_p):
        weight = attention[1].weight.clone()
        with torch.no_grad():
            attention[1].weight.zero_()
            assert distance(expected, head(x)) > 1e-3
            attention[1].weight.copy_(weight)


@pytest.mark.parametrize("psa_type", ["collect", "distribute", "bi-direction"])
def test_a_compact_head_has_one_size(psa_type, psa_head, distance):
    head, x = psa_head(psa_type=psa_type, compact=True), [torch.randn(2, 6, 10, 14)]
    exportable = make_exportable(head)
    assert distance(head(x), exportable(x)) < 1e-5
    with pytest.raises(RuntimeError):
        exportable([torch.randn(2, 6, 10, 12)])


class Network(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head([image[:, :, ::2, ::2]])


@pytest.mark.parametrize("options", [{}, {"psa_type": "distribute"}])
def test_one_exported_program_follows_the_size(options, psa_head, distance):
    network, any_size = Network(psa_head(**options)), torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(network),
        (torch.zeros(2, 6, 40, 56),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for size in [(16, 20), (18, 14), (16, 17), (11, 23)]:
        image = torch.randn(1, 6, *size)
        assert distance(network(image), program(image)) < 1e-5, size


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize(
    ("length", "wanted"), [(8, 4), (9, 5), (5, 9), (7, 7), (1, 3), (3, 1), (1, 1), (97, 49)]
)
def test_a_resize_is_a_matrix(length, wanted, aligned):
    cells = torch.eye(length)[:, :, None]
    expected = nn.functional.interpolate(
        cells[None], size=(wanted, 1), mode="bilinear", align_corners=bool(aligned)
    )[0, :, :, 0]
    matrix = interpolation(length, wanted, aligned, cells)
    torch.testing.assert_close(matrix, expected.T, rtol=0, atol=1e-5)
    halved = interpolation(length, wanted, aligned, cells.half())
    torch.testing.assert_close(halved, matrix.half(), rtol=2e-3, atol=0)


def test_no_resize_has_a_size_that_both_sides_decide(psa_head):
    """TensorRT cannot infer one."""
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(Network(psa_head())),
        (torch.zeros(2, 6, 40, 56),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    )
    assert not [node for node in program.graph.nodes if "upsample" in str(node.target)]
