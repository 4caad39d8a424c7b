"""SAN's pooling to grids that do not divide; tests/v1/test_families.py compares the whole network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from segplug_mmseg.exportable.side_adapter import adaptive_max_pool2d

SIZES = [
    ((6, 8), (3, 4)),
    ((7, 9), (3, 4)),
    ((3, 5), (1, 2)),
    ((40, 41), (32, 33)),
    ((5, 4), (5, 4)),
    ((2, 3), (4, 5)),
]


@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_pooling(given, wanted):
    x = torch.randn(2, 3, *given)
    assert torch.equal(adaptive_max_pool2d(x, wanted), F.adaptive_max_pool2d(x, wanted))


class Halved(torch.nn.Module):
    """Pools to the grid that an image of half the size has, as SAN does."""

    def __init__(self, pool) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        patches = image[:, :, ::16, ::16]
        return self.pool(patches, tuple(edge // 2 // 16 + 1 for edge in image.shape[2:]))


def test_pooling_in_a_program_of_free_sizes():
    free = torch.export.Dim.DYNAMIC
    sample = torch.randn(2, 3, 96, 160)
    shapes = ({0: free, 2: free, 3: free},)
    program = torch.export.export(Halved(adaptive_max_pool2d), (sample,), dynamic_shapes=shapes).module()
    for size in [(96, 160), (117, 139), (33, 200), (640, 47)]:
        image = torch.randn(1, 3, *size)
        assert torch.equal(program(image), Halved(F.adaptive_max_pool2d)(image))
