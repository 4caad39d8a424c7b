"""Optimisation profiles: the smallest, the usual and the largest input shape of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from segplug.errors import UsageError
from segplug.limits import why_no_input
from segplug.model import InputLimits
from segplug.text import counted

if TYPE_CHECKING:
    from segplug.model import ModelMeta
    from segplug.progress import Reporter

__all__ = ["Profile", "engine_meta", "parse_shapes", "plan_profiles", "warn_of_one_size"]

Shape = tuple[int, int, int, int]
"""Batch, channels, height, width."""

_FREE = -1


@dataclass(frozen=True)
class Profile:
    """One range of input shapes ``(N, C, H, W)``; the engine is fastest at ``opt``."""

    min: Shape
    opt: Shape
    max: Shape

    def to_dict(self) -> dict[str, list[int]]:
        """The profile in JSON types."""
        return {name: list(shape) for name, shape in asdict(self).items()}


def engine_meta(meta: ModelMeta, profiles: Sequence[Profile], limits: InputLimits | None) -> ModelMeta:
    """The metadata of an engine: the model's, with the one size that the engine takes, or with ``limits``."""
    sizes = {shape[2:] for profile in profiles for shape in (profile.min, profile.max)}
    if len(sizes) == 1:
        (size,) = sizes
        return meta.replace(input_size=size, input_limits=None, verification=None)
    return meta.replace(input_limits=limits, verification=None)


def parse_shapes(words: Sequence[str], flag: str, channels: int) -> tuple[Shape, ...]:
    """Parse the shapes on a command line: each ``1x3x512x1024``, or four numbers.

    Args:
        words: The words after the flag.
        flag: The flag, for messages.
        channels: Channels of the network's input.

    Raises:
        UsageError: a word is not a shape, a shape does not have four numbers, or has other channels.
    """
    example = f"1x{channels}x512x1024"
    shapes: list[tuple[int, ...]] = []
    row: list[int] = []
    for word in words:
        try:
            numbers = [int(part) for part in word.replace(",", "x").split("x")]
        except ValueError:
            numbers = []
        if len(numbers) == 4 and not row:
            shapes.append(tuple(numbers))
            continue
        if len(numbers) != 1:
            raise UsageError(
                f"{flag}: '{word}' is not a shape", hint=f"write {example}, or {example.replace('x', ' ')}"
            )
        row += numbers
        if len(row) == 4:
            shapes.append(tuple(row))
            row = []
    if row:
        raise UsageError(
            f"{flag} takes four numbers for each shape: batch, channels, height, width",
            hint=example.replace("x", " "),
        )
    for shape in shapes:
        if min(shape) < 1:
            raise UsageError(f"{flag}: sizes must be 1 or more, not {_text(shape)}")
        if reason := why_no_input(shape[2:], channels=shape[1], batch=shape[0]):
            raise UsageError(f"{flag}: {reason}")
        if shape[1] != channels:
            number = counted(channels, "channel")
            raise UsageError(
                f"{flag}: the network takes images of {number}, and the second number of {_text(shape)} is "
                f"{shape[1]}",
                hint=f"a shape is batch, channels, height, width: {example}",
            )
    return tuple((batch, channels, rows, columns) for batch, channels, rows, columns in shapes)


def plan_profiles(
    network: Sequence[int],
    smallest: Sequence[Shape],
    usual: Sequence[Shape],
    largest: Sequence[Shape],
    *,
    size: tuple[int, int] | None,
    limits: InputLimits | None,
) -> tuple[Profile, ...]:
    """The profiles to build for; shapes that are not given are derived from the others.

    Args:
        network: The graph's input shape, -1 for a batch, height or width that varies.
        smallest: From ``--min-shape``, one for each profile. Empty: the usual ones.
        usual: From ``--opt-shape``. Empty: the largest.
        largest: From ``--max-shape``.
        size: The model's own input (height, width): the default for a file with free sizes.
        limits: The sizes that the network takes.

    Raises:
        UsageError: the counts differ, the order is wrong, or the file or the network does not take a shape.
    """
    counts = {len(shapes) for shapes in (smallest, usual, largest) if shapes}
    if len(counts) > 1:
        raise UsageError(
            "--min-shape, --opt-shape and --max-shape give different numbers of shapes",
            hint="give the same number of shapes with each flag",
        )
    if not counts:
        shape = _default(network, size)
        profiles = [Profile(shape, shape, shape)]
    else:
        largest = largest or usual or smallest
        usual = usual or largest
        smallest = smallest or usual
        profiles = [Profile(*three) for three in zip(smallest, usual, largest, strict=True)]
    for profile in profiles:
        _check(profile, network, limits)
    return tuple(profiles)


def warn_of_one_size(profiles: Sequence[Profile], meta: ModelMeta, reporter: Reporter) -> None:
    """Warn if an engine takes images of one size only, and the model's preprocessing gives other sizes."""
    from segplug.runtime.fixed_size import fixed_size_warning

    sizes = {shape[2:] for profile in profiles for shape in (profile.min, profile.max)}
    if len(sizes) == 1:
        cure = "for its own sizes, build with --min-shape and --max-shape"
        warning = fixed_size_warning(meta, next(iter(sizes)), cure=cure)
        if warning is not None:
            reporter.warn(warning)


def _default(network: Sequence[int], size: tuple[int, int] | None) -> Shape:
    if size is None and _FREE in network[2:]:
        raise UsageError("the file takes any size", hint="give --min-shape, --opt-shape and --max-shape")
    height, width = size or (network[2], network[3])
    wanted = (1, network[1], height, width)
    batch, channels, rows, columns = (
        other if own == _FREE else own for own, other in zip(network, wanted, strict=True)
    )
    return batch, channels, rows, columns


def _check(profile: Profile, network: Sequence[int], limits: InputLimits | None) -> None:
    triples = zip(profile.min, profile.opt, profile.max, strict=True)
    if not all(low <= middle <= high for low, middle, high in triples):
        raise UsageError(
            f"a profile must go from small to large, not {_text(profile.min)}, {_text(profile.opt)}, "
            f"{_text(profile.max)}"
        )
    for shape in (profile.min, profile.opt, profile.max):
        fits = all(own in (_FREE, given) for own, given in zip(network, shape, strict=True))
        if not fits:
            raise UsageError(
                f"the file takes inputs of {_text(network)} and not {_text(shape)}",
                hint="-1 is an axis that varies; export with --dynamic for other sizes",
            )
        if limits is not None and not _takes(limits, shape[2:]):
            raise UsageError(f"the network takes {limits}, and not {shape[2]}x{shape[3]}")


def _takes(limits: InputLimits, size: tuple[int, int]) -> bool:
    tops = limits.maximum or (None, None)
    return all(
        low <= edge and (top is None or edge <= top) and edge % limits.multiple_of == 0
        for edge, low, top in zip(size, limits.minimum, tops, strict=True)
    )


def _text(shape: Sequence[Any]) -> str:
    return "x".join(map(str, shape))
