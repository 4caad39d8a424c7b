"""ISANet's blocks on maps that they do not divide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from segplug_mmseg.exportable import make_exportable
from torch import nn

SIZES = [(8, 12), (7, 10), (13, 5), (3, 3), (1, 1)]


class Network(nn.Module):
    """The head behind a stride, so that the map's size is a formula of the input's."""

    def __init__(
        self, stride: int = 1, block: tuple[int, int] = (4, 3), norm: dict[str, Any] | None = None
    ) -> None:
        from mmseg.models.decode_heads import ISAHead

        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=stride, padding=1)
        self.head = ISAHead(
            in_channels=6,
            channels=8,
            isa_channels=4,
            num_classes=3,
            down_factor=block,
            align_corners=False,
            norm_cfg=norm or {"type": "BN"},
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head([self.stem(image)])


@pytest.fixture
def network(randomised) -> Callable[..., Network]:
    def build(**options: Any) -> Network:
        network = randomised(Network(**options))
        with torch.no_grad():  # sharp attention, so that a block in the wrong place shows
            for relation in (network.head.global_relation, network.head.local_relation):
                for projected in (relation.query_project, relation.key_project, relation.value_project):
                    for weight in projected.parameters():
                        weight.mul_(4 if weight.dim() > 1 else 1)
        return network

    return build


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("block", [(4, 3), (1, 2)])
def test_the_head(size, block, network, distance):
    original, image = network(block=block), torch.randn(2, 3, *size)
    assert distance(original(image), make_exportable(original)(image)) < 1e-5


@pytest.mark.parametrize(
    "norm", [{"type": "GN", "num_groups": 2}, {"type": "IN"}, {"type": "BN", "track_running_stats": False}]
)
def test_a_norm_that_looks_at_the_whole_block(norm, network, distance):
    original, image = network(norm=norm), torch.randn(2, 3, 7, 10)
    assert distance(original(image), make_exportable(original)(image)) < 1e-5


def test_where_the_blocks_lie_matters(network, distance):
    original, image = network(), torch.randn(2, 3, 7, 10)
    moved = F.pad(image, (1, 0, 1, 0))
    assert distance(original(image), original(moved)[:, :, 1:, 1:]) > 1e-2


def test_one_file_follows_the_size(network, distance, tmp_path):
    """Run in ONNX Runtime: ONNX divides negative numbers in another direction than torch."""
    import onnxruntime

    original, any_size = network(stride=2), torch.export.Dim.DYNAMIC
    torch.onnx.export(
        make_exportable(original),
        (torch.zeros(2, 3, 80, 120),),
        dynamo=True,
        verbose=False,
        input_names=["image"],
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for shape in [(1, 3, 16, 24), (3, 3, 17, 21), (1, 3, 35, 11), (2, 3, 19, 50), (2, 3, 6, 5)]:
        image = torch.randn(shape)
        (actual,) = session.run(None, {"image": image.numpy()})
        assert distance(original(image), actual) < 1e-5, shape
