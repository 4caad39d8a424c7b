"""EoMT's masked attention, which each of the last blocks takes or not, as a buffer says.

The network asks that buffer for its value in its forward, and an export does not know it. It is read when the
exportable copy is made: 1 stands for a block with masks, and 0 for one without, as training ends. Between the
two, transformers leaves out masks at random in every run.
"""

from __future__ import annotations

from typing import Any

from segplug_torch.exportable.registry import preparation

from segplug.errors import ModelError

__all__: list[str] = []


@preparation(
    "transformers.models.eomt.modeling_eomt.EomtForUniversalSegmentation",
    "transformers.models.eomt_dinov3.modeling_eomt_dinov3.EomtDinov3ForUniversalSegmentation",
)
def _read_switches(self: Any) -> None:
    switches = dict(self.named_buffers(recurse=False))["attn_mask_probs"].tolist()
    if between := [switch for switch in switches if 0 < switch < 1]:
        raise ModelError(
            f"the network leaves out attention masks at random: attn_mask_probs has {between[0]:g}",
            hint="set attn_mask_probs of the weights to 0, as training ends, or to 1",
        )
    vars(self)["attn_mask_probs"] = switches
