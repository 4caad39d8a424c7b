"""EoMT's masked attention, which each of the last blocks takes or not, as a buffer of the weights says.

1 stands for a block with masks, and 0 for one without, as training ends. Between the two, transformers leaves
out masks at random in every run, in eval mode, too.
"""

from __future__ import annotations

from torch import nn

from segplug.errors import ModelError

__all__ = ["mask_switches"]


def mask_switches(network: nn.Module) -> list[float]:
    """The switch of each of the last blocks of EoMT, 0 or 1.

    Args:
        network: An object of EoMT's class, or of that with DINOv3.

    Raises:
        ModelError: one lies between the two, so that no run gives the numbers of another.
    """
    switches: list[float] = dict(network.named_buffers(recurse=False))["attn_mask_probs"].tolist()
    if between := [switch for switch in switches if 0 < switch < 1]:
        raise ModelError(
            f"the network leaves out attention masks at random: attn_mask_probs has {between[0]:g}",
            hint="set attn_mask_probs of the weights to 0, as training ends, or to 1",
        )
    return switches
