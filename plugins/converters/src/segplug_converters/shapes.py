"""The names and shapes of weights, and the variant of a network that is read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug.errors import CheckpointError
from segplug_converters.names import Template

__all__ = ["Shapes", "Variant", "format_shape"]


@dataclass(frozen=True)
class Variant:
    """The network of a family that the weights belong to."""

    name: str
    """``ViT-B/16``."""
    backbone: Mapping[str, Any]
    """The settings of mmseg's backbone that they fit: ``type``, ``embed_dims``, ..."""
    notes: tuple[str, ...] = ()


class Shapes:
    """The names and shapes of converted weights, from which the variant is read.

    Args:
        shapes: mmseg's name, without a prefix, to shape.
        in_file: The same of the foreign file: some settings follow only from its shapes. Empty with
            ``--reverse``.
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
            CheckpointError: there is no such tensor.
        """
        if name not in self._shapes:
            raise CheckpointError(f"the weights lack {name}, from which the variant is read")
        return self._shapes[name]

    def check_alike(self, template: str) -> None:
        """Check that all blocks have tensors of the same names and shapes.

        Args:
            template: The start of the names of a block, with one variable: ``layers.<n>.``.

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
                        f"{where}{own} is {format_shape(block.get(own))}, that of block {first} "
                        f"{format_shape(blocks[first].get(own))}: blocks of one stage must be alike"
                    )

    def count(self, template: str) -> int:
        """Count the numbers ``n`` for which there is a name of ``template``, with its one variable ``<n>``.

        Raises:
            CheckpointError: the numbers do not run from 0 without a gap.
        """
        pattern = Template(template, {})
        (variable,) = pattern.variables
        found = {int(values[variable]) for name in self._shapes if (values := pattern.match(name))}
        for number in range(len(found)):
            if number not in found:
                gap = pattern.fill({variable: number})
                raise CheckpointError(f"the weights lack {gap}, but have others after it: is the file whole?")
        return len(found)


def format_shape(shape: tuple[int, ...] | None) -> str:
    """A shape as text: ``64x3x7x7``."""
    return "missing" if shape is None else "x".join(map(str, shape)) or "a scalar"
