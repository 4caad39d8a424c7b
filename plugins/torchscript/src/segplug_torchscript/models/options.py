"""The options of the sources ``torchscript`` and ``torch-export``."""

from __future__ import annotations

from dataclasses import dataclass

from segplug_torch.undescribed.options import AnyNetworkOptions

from segplug.options import option

__all__ = ["ProgramOptions", "ScriptOptions"]


@dataclass(frozen=True)
class ScriptOptions(AnyNetworkOptions):
    """Options of the model source ``torchscript``."""

    in_channels: int = option(3, help="Channels of the network's images.", minimum=1)


@dataclass(frozen=True)
class ProgramOptions(AnyNetworkOptions):
    """Options of the model source ``torch-export``."""
