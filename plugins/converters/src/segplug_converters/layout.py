"""A layout: how one library names the tensors of a family of networks, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segplug.errors import CheckpointError
from segplug_converters.names import Template, Words
from segplug_converters.rules import Rule

__all__ = ["WEIGHT_OR_BIAS", "Layout", "Shapes", "Variant"]

WEIGHT_OR_BIAS: Words = {"p": ("weight", "bias")}


@dataclass(frozen=True)
class Layout:
    """One library's names for a family of networks, and the rules that make them mmseg's."""

    name: str
    """What ``--layout`` calls it: ``timm``."""
    what: str
    """Whose files these are: ``timm's VisionTransformer, DeiT``."""
    anchors: tuple[tuple[str, str], ...]
    """Templates of a foreign name and of mmseg's name for the same tensor: in these the numbers of blocks
    and stages are found. A file of this layout has a match of the first one."""
    rules: tuple[Rule, ...]
    words: Words = field(default_factory=lambda: WEIGHT_OR_BIAS)
    notes: tuple[str, ...] = ()
    """Known differences between the two networks, a sentence each."""
    one_way: str = ""
    """Why there is no way back to it; empty: there is."""
    backbone: Mapping[str, Any] = field(default_factory=dict)
    """mmseg's settings that follow from the library, not from the weights: an eps of its norms."""


@dataclass(frozen=True)
class Variant:
    """Which network of a family the weights are of."""

    name: str
    """``ViT-B/16``."""
    backbone: Mapping[str, Any]
    """mmseg's settings of the backbone that they fit: ``type``, ``embed_dims``, ..."""
    notes: tuple[str, ...] = ()


class Shapes:
    """The names and shapes of converted weights, from which the variant is read.

    Args:
        shapes: mmseg's name, without a prefix, to shape.
        in_file: The same of the foreign file, for what its shapes tell and mmseg's do not. Empty on the
            way back.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], *, in_file: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        self._shapes = shapes
        self.in_file = in_file or {}

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def of(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor.

        Raises:
            CheckpointError: it is not there.
        """
        if name not in self._shapes:
            raise CheckpointError(f"the weights lack {name}, from which the variant is read")
        return self._shapes[name]

    def count(self, template: str) -> int:
        """How many numbers ``n`` give a name with ``template``, which has one variable ``<n>``.

        Raises:
            CheckpointError: they do not run from 0 without a gap.
        """
        pattern = Template(template, {})
        (variable,) = pattern.variables
        found = {int(values[variable]) for name in self._shapes if (values := pattern.match(name))}
        for number in range(len(found)):
            if number not in found:
                gap = pattern.fill({variable: number})
                raise CheckpointError(f"the weights lack {gap}, but have others after it: is the file whole?")
        return len(found)
