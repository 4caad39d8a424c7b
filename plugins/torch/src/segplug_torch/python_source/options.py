"""The options of the source ``python``."""

from __future__ import annotations

from dataclasses import dataclass

from segplug.options import option
from segplug_torch.undescribed.options import AnyNetworkOptions

__all__ = ["Options"]


@dataclass(frozen=True)
class Options(AnyNetworkOptions):
    """Options of the model source ``python``."""

    in_channels: int = option(3, help="Channels of the network's images.", minimum=1)
