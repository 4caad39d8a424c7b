"""A layout: how one library names the tensors of a family of networks, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segplug.errors import CheckpointError
from segplug_converters.names import Template, Words
from segplug_converters.rules import Rule

__all__ = ["WEIGHT_OR_BIAS", "Layout", "Shapes", "Variant", "shown"]

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
    without: tuple[str, ...] = ()
    """Templates of names that no network of this layout has, for one that makes what others have."""
    nowhere: tuple[str, ...] = ()
    """Templates of names that do not lie beside such a network either, under whatever prefix: what has them
    is of another layout, of which this one would see a part only."""

    def __post_init__(self) -> None:
        """Check the table, whoever wrote it.

        Raises:
            PluginError: a rule cannot be applied.
        """
        from segplug_converters.checks import check_table

        check_table(self)


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

    def check_alike(self, template: str) -> None:
        """Check that all blocks have tensors of the same names and shapes.

        Args:
            template: What the names of a block begin with, with one variable: ``layers.<n>.``.

        Raises:
            CheckpointError: a block differs from the first.
        """
        start = Template(template + "<*>", {})
        (variable,) = start.variables
        blocks: dict[int, dict[str, tuple[int, ...]]] = {}
        for name, shape in self._shapes.items():
            values = start.match(name)
            if values is not None:
                number = int(values[variable])
                own = name[len(Template(template, {}).fill({variable: number})) :]
                blocks.setdefault(number, {})[own] = shape
        first = min(blocks, default=0)
        for number, block in blocks.items():
            for own in sorted(block.keys() | blocks[first].keys()):
                if block.get(own) != blocks[first].get(own):
                    where = Template(template, {}).fill({variable: number})
                    raise CheckpointError(
                        f"{where}{own} is {shown(block.get(own))}, that of block {first} "
                        f"{shown(blocks[first].get(own))}: blocks of one stage must be alike"
                    )

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


def shown(shape: tuple[int, ...] | None) -> str:
    """A shape for people: ``64x3x7x7``."""
    return "missing" if shape is None else "x".join(map(str, shape)) or "a scalar"
