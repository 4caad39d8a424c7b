"""mmseg's ``Upsample``, whose output size would be that of the exporting sample for every input.

It multiplies the size by a float and takes ``int`` of the product, which turns a size that follows the
input into a number: the file runs at every size, and is wrong at all but one. In whole numbers the product
stays a formula.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from torch import Tensor

from segplug.errors import ModelError

__all__: list[str] = []

_EXACT = 64
"""Products with a float of up to this power of two in its denominator are not rounded."""


@method_form("mmseg.ops.wrappers.Upsample", "mmseg.models.utils.wrappers.Upsample")
def _upsample(self: Any, x: Tensor) -> Tensor:
    factor = None if self.size else self.scale_factor
    multiply, divide = factor.as_integer_ratio() if isinstance(factor, float) else (0, _EXACT + 1)
    if divide > _EXACT:  # a fixed size, or a factor like 1/3
        if factor is not None and not all(isinstance(length, int) for length in x.shape[-2:]):
            raise ModelError(
                f"a map is enlarged by {factor}, which gives no whole-number formula of its size"
            )
        resized: Tensor = original_forward(self)(x)
        return resized
    size = [length * multiply // divide for length in x.shape[-2:]]
    return F.interpolate(x, size=size, mode=self.mode, align_corners=self.align_corners)
