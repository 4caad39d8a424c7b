"""The engine contract: everything that a new backend has to implement.

An ``infer`` provider opens an artifact and returns an object with a :class:`EngineSpec` and a
``run`` method. The runtime does everything else: reading, preprocessing, sliding windows, scoring, painting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.model import InputLimits, ModelMeta

__all__ = ["REFERENCE_BACKEND", "Axis", "Engine", "EngineSpec", "limit_axes"]

REFERENCE_BACKEND = "pytorch"
"""The ``infer`` target that runs a loaded model itself: the reference of every comparison."""


@dataclass(frozen=True)
class Axis:
    """The sizes that one input axis takes: ``minimum`` to ``maximum``, both included."""

    minimum: int = 1
    maximum: int | None = None
    """``None``: no upper bound is known."""
    multiple_of: int = 1

    @classmethod
    def fixed(cls, size: int) -> Axis:
        """An axis that takes one size only."""
        return cls(minimum=size, maximum=size)

    @property
    def is_fixed(self) -> bool:
        """Whether only one size is taken."""
        return self.minimum == self.maximum

    def within(self, limits: Axis) -> Axis:
        """The sizes that both axes take; an axis of one size stays as it is."""
        if self.is_fixed:
            return self
        tops = [top for top in (self.maximum, limits.maximum) if top is not None]
        return Axis(
            minimum=max(self.minimum, limits.minimum),
            maximum=min(tops) if tops else None,
            multiple_of=math.lcm(self.multiple_of, limits.multiple_of),
        )

    def accepts(self, size: int) -> bool:
        """Whether an input may have this size along the axis."""
        if size < self.minimum or (self.maximum is not None and size > self.maximum):
            return False
        return size % self.multiple_of == 0

    def __str__(self) -> str:
        if self.is_fixed:
            return str(self.minimum)
        text = f"{self.minimum}..{'' if self.maximum is None else self.maximum}"
        return text if self.multiple_of == 1 else f"{text} in steps of {self.multiple_of}"

    def in_words(self) -> str:
        """``any size``, ``1 to 4``, ``32 and more, multiples of 32``."""
        steps = "" if self.multiple_of == 1 else f", multiples of {self.multiple_of}"
        if self.is_fixed:
            return str(self.minimum)
        if self.maximum is not None:
            return f"{self.minimum} to {self.maximum}{steps}"
        return f"{self.minimum} and more{steps}" if self.minimum > 1 else f"any size{steps}"


def limit_axes(height: Axis, width: Axis, limits: InputLimits | None) -> tuple[Axis, Axis]:
    """The axes of a file's input, limited to the sizes that the network in it takes."""
    if limits is None:
        return height, width
    tops = limits.maximum or (None, None)
    own = [Axis(low, top, limits.multiple_of) for low, top in zip(limits.minimum, tops, strict=True)]
    return height.within(own[0]), width.within(own[1])


@dataclass(frozen=True)
class EngineSpec:
    """The input and output of an engine. Free heights and widths are limited to ``meta.input_limits``.

    The input is float32 ``(N, meta.in_channels, H, W)``, preprocessed as ``meta`` says. The output is float32
    scores ``(N, C, h, w)`` of the size ``meta.scores_size((H, W))``; or integer labels ``(N, H, W)`` at the
    input's size. The scores are ``meta.scores``: logits or probabilities.

    An engine that preprocesses and postprocesses itself, as a server does, sets ``input="image"``: its input
    is ``(N, H, W, C)`` of any numeric type, images as ``meta.decoding`` gives them, and its output their
    labels.
    """

    meta: ModelMeta
    output: Literal["logits", "labels"]
    """``logits``: scores of every class, which ``meta.scores`` may also call probabilities."""
    batch: Axis = Axis()
    height: Axis = Axis()
    width: Axis = Axis()
    backend: str = ""
    """The target's name and its device, for messages: ``onnxruntime 1.31.1 (CPU)``."""
    fresh_output: bool = False
    """Whether every ``run`` returns a new array, which the caller may keep without copying it."""
    input: Literal["tensor", "image"] = "tensor"

    def __post_init__(self) -> None:
        if self.input == "image":
            return  # the limits matter to the server, which preprocesses
        # Done here, so that no backend has to apply the limits of the network itself.
        height, width = limit_axes(self.height, self.width, self.meta.input_limits)
        object.__setattr__(self, "height", height)
        object.__setattr__(self, "width", width)


@runtime_checkable
class Engine(Protocol):
    """An opened artifact, ready to run batches. Used by one thread at a time."""

    @property
    def spec(self) -> EngineSpec:
        """The input and output of the engine; does not change."""
        ...

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.generic]:
        """Run one batch.

        Args:
            batch: C-contiguous float32 ``(N, C, H, W)``, or images ``(N, H, W, C)`` where ``spec.input`` is
                ``image``; within the spec's axes.

        Returns:
            As ``spec.output`` says. The array may be reused by the next ``run``.

        Raises:
            ShapeError: the engine cannot take this shape after all.
            EngineError: it has stopped working, for example a server that has ended.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds. Called once; ``run`` is not called after it."""
        ...
