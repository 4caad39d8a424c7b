"""All that a serving report is made of."""

from __future__ import annotations

from dataclasses import dataclass

from segplug.model import ModelMeta
from segplug_analysis.benchmark.machine import Machine
from segplug_analysis.serving.judge import Judgement
from segplug_analysis.serving.load import Level, Plan
from segplug_analysis.serving.pictures import Picture

__all__ = ["Found"]


@dataclass(frozen=True)
class Found:
    """All that was asked and answered."""

    plan: Plan
    meta: ModelMeta
    """Of the served model."""
    model: ModelMeta | None
    """Of PyTorch's; ``None``: there was no comparison."""
    pictures: tuple[Picture, ...]
    levels: tuple[Level, ...]
    judgement: Judgement
    machine: Machine
    """Before the start."""
    threads: int | None
    device: str
    painted: int
    """How many images are painted."""
    warnings: tuple[str, ...]

    def replies(self, image: int, place: int) -> int:
        """How many replies hold this mask of this image."""
        return sum((one.image, one.mask) == (image, place) for level in self.levels for one in level.all)
