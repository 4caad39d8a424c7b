"""In which form a model is exported for a data set: for one size or any, with labels or logits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segplug.runtime.preprocess import Preprocessor, Size

if TYPE_CHECKING:
    from segplug.model import ModelMeta

__all__ = ["Form", "form_for"]


@dataclass(frozen=True)
class Form:
    """What the exporter is asked for, and why."""

    size: Size | None
    """The one network input (height, width); ``None``: sizes vary."""
    labels: bool
    """Whether the file may give labels in place of logits."""
    reason: str

    @property
    def output_kind(self) -> str:
        """As exporters call it."""
        return "labels" if self.labels else "logits"

    @property
    def size_text(self) -> str:
        """For people and file names: ``360x480``, ``any-size``."""
        return "any-size" if self.size is None else f"{self.size[0]}x{self.size[1]}"


def form_for(meta: ModelMeta, sizes: Iterable[Size]) -> Form:
    """The form in which scores are exact.

    Args:
        meta: How the model's images are preprocessed.
        sizes: The (height, width) of the data set's images; read no further than they matter.
    """
    if meta.inference.mode == "slide":
        return Form(meta.inference.crop_size, False, "the logits of its sliding windows are averaged")
    preprocess = Preprocessor(meta)
    network: set[Size] = set()
    unscaled = True
    seen: set[Size] = set()
    for size in sizes:
        if size in seen:
            continue
        seen.add(size)
        item = preprocess(np.zeros((*size, 3), np.uint8), "")
        network.add((item.array.shape[1], item.array.shape[2]))
        unscaled = unscaled and item.geometry.valid == item.geometry.original
        if len(network) > 1 and not unscaled:
            break  # no other image can change that
    return Form(
        next(iter(network)) if len(network) == 1 else None,
        unscaled,
        "the network sees every image at its own size"
        if unscaled
        else "images are scaled for the network, and labels cannot be scaled back without loss",
    )
