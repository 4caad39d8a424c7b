"""EoMT's masked attention: see :mod:`segplug_transformers.networks.mask_switches`.

The network asks a buffer for its value in its forward, and an export does not know it. It is read when the
exportable copy is made.
"""

from __future__ import annotations

from typing import Any

from segplug_torch.exportable.registry import preparation

from segplug_transformers.networks.mask_switches import mask_switches

__all__: list[str] = []


@preparation(
    "transformers.models.eomt.modeling_eomt.EomtForUniversalSegmentation",
    "transformers.models.eomt_dinov3.modeling_eomt_dinov3.EomtDinov3ForUniversalSegmentation",
)
def _read_switches(self: Any) -> None:
    vars(self)["attn_mask_probs"] = mask_switches(self)
