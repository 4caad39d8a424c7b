"""The number of stages of the published networks."""

from __future__ import annotations

from segplug.errors import CheckpointError
from segplug_converters import Shapes

__all__ = ["four_stages"]


def four_stages(shapes: Shapes, template: str, family: str) -> range:
    """The numbers of four stages, which all published Swin, MiT and Twins have.

    mmseg's networks can be built with fewer. But a file that was cut off after a stage looks the same, and is
    more common.

    Args:
        shapes: The shapes of the converted weights.
        template: A name that every stage ``<n>`` has.
        family: The name of the networks, for the error.

    Raises:
        CheckpointError: there are more or fewer stages.
    """
    count = shapes.count(template)
    if count != 4:
        raise CheckpointError(f"{count} stages, where all published {family} have 4: is the file whole?")
    return range(count)
