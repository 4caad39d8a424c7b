"""The options of the source ``smp``: a folder holds neither preprocessing nor class names."""

from __future__ import annotations

from dataclasses import dataclass

from segplug_torch.undescribed.options import NetworkOptions

__all__ = ["Options"]


@dataclass(frozen=True)
class Options(NetworkOptions):
    """Options of the model source ``smp``."""
