"""What a test pipeline is read as."""

from __future__ import annotations

from dataclasses import dataclass

from segplug.preprocessing import Decoding, Resize, Step, find_steps
from segplug_mmseg.pipeline.numbers import UNLIMITED

__all__ = ["Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a test image. The fields are those of ``ModelMeta``."""

    in_channels: int = 3
    decoding: Decoding = Decoding()
    steps: tuple[Step, ...] = ()
    tta: tuple[tuple[Step, ...], ...] = ()
    tta_by_default: bool = True
    approximations: tuple[str, ...] = ()

    @property
    def nominal_size(self) -> tuple[int, int] | None:
        """The network's input (height, width) for an image that fills the test scale; ``None``: no scale."""
        from segplug.runtime.sizes import plan_sizes

        scale = next((resize.scale for resize in find_steps(self.steps, Resize) if resize.scale), None)
        if scale is None or max(scale) >= UNLIMITED:
            return None
        return plan_sizes(self.steps, (scale[1], scale[0])).geometry.network
