"""PointRend's choice and sampling of the points to refine, which depend on the size of the map.

mmseg takes the smaller of two numbers and divides indices by a width, both as Python does: the first would
be decided by the exporting sample, the second has no form in ONNX for a width that is only known later. And
during an export mmcv gathers the four neighbours of each point by index arithmetic, for runtimes that had no
operator for it; ONNX has had GridSample since opset 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__: list[str] = []

_POINT_HEAD = "mmseg.models.decode_heads.point_head.PointHead"

_AT_ONCE = 3840
"""What TensorRT's TopK finds at most; mmseg's configs ask for 8196 points."""


@method_form(_POINT_HEAD, method="get_points_test")
def _get_points_test(
    self: Any, seg_logits: Tensor, uncertainty_func: Callable[[Tensor], Tensor], cfg: Any
) -> tuple[Tensor, Tensor]:
    """The most uncertain points: indices (N, points), and places (N, points, 2) as (x, y) from 0 to 1."""
    uncertainty = uncertainty_func(seg_logits)
    height, width = uncertainty.shape[-2:]
    count = torch.sym_min(height * width, cfg.subdivision_num_points)  # type: ignore[no-untyped-call]
    indices = _largest(uncertainty.flatten(1), count, -(-cfg.subdivision_num_points // _AT_ONCE))
    rows, columns = (torch.full((), size, device=indices.device) for size in (height, width))
    places = _centres(indices % columns, columns), _centres(indices // columns, rows)
    return indices, torch.stack(places, dim=-1)


def _largest(values: Tensor, count: Size, turns: int) -> Tensor:
    """(N, count): where the largest of each row are, largest first; each turn finds its share of them.

    Shares are equal so that none is an empty tensor where there are fewer cells than points.
    """
    found = []
    for turn in range(turns):
        share = values.topk((count + turn) // turns, dim=1)[1]
        values = values.scatter(1, share, -torch.inf)
        found.append(share)
    return torch.cat(found, dim=1)


def _centres(index: Tensor, cells: Tensor) -> Tensor:
    """Where the middle of a cell lies on its axis, from 0 to 1."""
    step = 1.0 / cells.float()
    return step / 2.0 + index.float() * step


@method_form(_POINT_HEAD, method="_get_fine_grained_point_feats")
def _get_fine_grained_point_feats(self: Any, x: Sequence[Tensor], points: Tensor) -> Tensor:
    return torch.cat([_sampled(self, level, points) for level in x], dim=1)


@method_form(_POINT_HEAD, method="_get_coarse_point_feats")
def _get_coarse_point_feats(self: Any, prev_output: Tensor, points: Tensor) -> Tensor:
    return _sampled(self, prev_output, points)


def _sampled(self: Any, x: Tensor, points: Tensor) -> Tensor:
    """(N, C, points), between the pixels of ``x``."""
    grid = points.unsqueeze(2) * 2.0 - 1.0
    return F.grid_sample(x, grid, align_corners=self.align_corners).squeeze(3)
