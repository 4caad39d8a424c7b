"""Everything that a serving report is made from."""

from __future__ import annotations

from dataclasses import dataclass

from segplug.model import ModelMeta
from segplug_analysis.machine import Machine
from segplug_analysis.serving.load import Level, Plan
from segplug_analysis.serving.mask_checks import MaskChecks
from segplug_analysis.serving.pictures import Picture

__all__ = ["Measurements"]


@dataclass(frozen=True)
class Measurements:
    """The requests and answers, with what is needed to interpret them."""

    plan: Plan
    meta: ModelMeta
    """The served model."""
    model: ModelMeta | None
    """The model that PyTorch ran; ``None``: there was no comparison."""
    pictures: tuple[Picture, ...]
    levels: tuple[Level, ...]
    checks: MaskChecks
    machine: Machine
    """The machine of the clients, before the start."""
    threads: int | None
    device: str
    painted: int
    """How many images are painted, at most."""
    bands: tuple[int, ...] | None
    """The channels that are painted (:class:`segplug.runtime.view.Viewer`)."""
    warnings: tuple[str, ...]

    def replies(self, image: int, position: int) -> int:
        """How many replies have the mask at this position of this image."""
        return sum((one.image, one.mask) == (image, position) for level in self.levels for one in level.all)
