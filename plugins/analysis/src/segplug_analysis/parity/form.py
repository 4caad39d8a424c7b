"""The form in which a model is exported for a data set: for one size or any, with labels or logits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segplug.runtime.sizes import Size, plan_sizes

if TYPE_CHECKING:
    from segplug.model import ModelMeta

__all__ = ["Form", "form_for"]


@dataclass(frozen=True)
class Form:
    """What the exporter is asked for, and why."""

    size: Size | None
    """The size (height, width) that every network input has; ``None``: sizes vary."""
    labels: bool
    """Whether the file may give labels instead of scores."""
    reason: str

    @property
    def output_kind(self) -> str:
        """The value of the exporters' option ``output_kind``."""
        return "labels" if self.labels else "logits"

    @property
    def size_text(self) -> str:
        """A text for people and file names: ``360x480``, ``any-size``."""
        return "any-size" if self.size is None else f"{self.size[0]}x{self.size[1]}"


def form_for(meta: ModelMeta, sizes: Iterable[Size]) -> Form:
    """The form in which the scores are exact.

    Args:
        meta: How the model's images are preprocessed.
        sizes: The (height, width) of the data set's images; read only as far as they matter.
    """
    if meta.inference.mode == "slide":
        return Form(meta.inference.crop_size, False, "the logits of its sliding windows are averaged")
    network: set[Size] = set()
    unresized = True
    seen: set[Size] = set()
    for size in sizes:
        if size in seen:
            continue
        seen.add(size)
        geometry = plan_sizes(meta.preprocessing, size).geometry
        network.add(geometry.network)
        unresized = unresized and geometry.valid == geometry.original
        if len(network) > 1 and not unresized:
            break  # no other image can change that
    return Form(
        next(iter(network)) if len(network) == 1 else None,
        unresized,
        "every image enters the network at its own size"
        if unresized
        else "images are resized for the network, and labels cannot be resized back without loss",
    )
