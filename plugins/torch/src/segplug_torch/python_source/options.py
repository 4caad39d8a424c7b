"""The options of the source ``python``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segplug.options import option
from segplug_torch.undescribed.options import NetworkOptions

__all__ = ["Options"]


@dataclass(frozen=True)
class Options(NetworkOptions):
    """Options of the model source ``python``."""

    in_channels: int = option(3, help="Channels of the network's images.", minimum=1)
    scores: Literal["logits", "probabilities"] = option(
        "logits", help="What the network returns: logits, or probabilities, which need not add up to 1."
    )
