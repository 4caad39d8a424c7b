"""The parts of a model's metadata that are records of their own. Plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from segplug.preprocessing import Edges
from segplug.validation import AtLeastOne

__all__ = ["Inference", "InputLimits", "Provenance"]


@dataclass(frozen=True)
class Inference:
    """How the network runs on an image: whole, or on sliding windows whose logits are averaged."""

    mode: Literal["whole", "slide"] = "whole"
    crop_size: Edges | None = None
    """Window (height, width); required for ``slide``."""
    stride: Edges | None = None
    """Step (height, width); required for ``slide``, unless the windows lie evenly."""
    placement: Literal["stride", "even"] = "stride"
    """Where the windows lie. ``stride``: one step apart, the last of a row or column moved back into the
    image. ``even``: as few as cover an axis, window ``i`` at ``int(i * (crop - overlap))``, where ``overlap``
    is what they have too much, shared out evenly; there is no ``stride``."""

    def in_words(self) -> str:
        """A few words."""
        if self.mode == "whole" or self.crop_size is None:
            return "on the whole image"
        apart = "as few as cover the image, evenly placed"
        if self.stride is not None:
            apart = "{} and {} pixels apart".format(*self.stride)
        return "on sliding windows of {}x{} (height x width), ".format(*self.crop_size) + apart

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """The places of values that do not go with other values, and why."""
        crop, stride = self.crop_size, self.stride
        if self.mode == "whole":
            if self.placement == "even":
                yield "inference.placement", "even is for windows, and the mode is whole"
        elif self.placement == "even":
            if crop is None or stride is not None:
                yield "inference", "windows that lie evenly need crop_size and no stride"
        elif crop is None or stride is None:
            yield "inference", "slide needs crop_size and stride"
        elif stride[0] > crop[0] or stride[1] > crop[1]:
            yield "inference.stride", f"{list(stride)} is larger than the crop_size, {list(crop)}"


@dataclass(frozen=True)
class InputLimits:
    """The input sizes that the network itself takes, in any format. Pixels."""

    minimum: Edges = (1, 1)
    """Smallest (height, width); a pooling kernel or a chain of strides can require one."""
    multiple_of: AtLeastOne = 1
    """Height and width are multiples of this."""
    maximum: Edges | None = None
    """Largest (height, width); equal to ``minimum`` if only one size is possible. ``None``: no limit."""

    @property
    def is_fixed(self) -> bool:
        """Whether only one size is taken."""
        return self.minimum == self.maximum

    def __str__(self) -> str:
        if self.is_fixed:
            return f"{self.minimum[0]}x{self.minimum[1]} only"
        text = f"{self.minimum[0]}x{self.minimum[1]} and larger"
        if self.maximum is not None:
            text = f"{self.minimum[0]}x{self.minimum[1]} to {self.maximum[0]}x{self.maximum[1]}"
        return text if self.multiple_of == 1 else f"{text}, multiples of {self.multiple_of}"


@dataclass(frozen=True)
class Provenance:
    """Where a model came from. Hashes are SHA-256 hex digests of the files as they were read; that of a
    checkpoint in several files is of all of them.
    """

    config: str | None = None
    config_sha256: str | None = None
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None

    def in_words(self) -> str:
        """The names of the files, with the first digits of their hashes; empty: not known."""
        files = ((self.config, self.config_sha256), (self.checkpoint, self.checkpoint_sha256))
        return ", ".join(
            f"{name} (SHA-256 {digest[:12]}...)" if digest else name for name, digest in files if name
        )
