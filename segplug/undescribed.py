"""How to prepare images for a network that does not say it itself: from a user's few facts, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from segplug.errors import UsageError
from segplug.preprocessing import Decoding, Pad, Resize, Step, usual_steps
from segplug.regular_files import expanded, read_regular_text
from segplug.text import counted

__all__ = [
    "CLASSES_HELP",
    "DECODINGS",
    "DECODING_HELP",
    "ChannelOrderName",
    "DecodingName",
    "both_classes",
    "class_names",
    "image_steps",
    "names_file",
    "numbered_classes",
]

ChannelOrderName = Literal["rgb", "bgr"]
DecodingName = Literal["color", "grayscale", "unchanged", "bands"]

DECODINGS: Mapping[DecodingName, Decoding] = {
    "color": Decoding(),
    "grayscale": Decoding(color="grayscale"),
    "unchanged": Decoding(color="unchanged"),
    "bands": Decoding(library="bands", color="unchanged"),
}
"""The decodings that a user can name; see :func:`image_steps`."""
_CHANNELS = {"color": 3, "grayscale": 1}
"""What the decodings give that convert colours, always as 8-bit pixels."""

DECODING_HELP = (
    "How image files are read. color: 8-bit colours; grayscale: 8-bit grey; unchanged: the file's channels "
    "and type, colours as BGR; bands: the same, in the file's order. Default: color for three channels, "
    "grayscale for one, else bands."
)
CLASSES_HELP = "Class names in label order, one .txt file with a name per line, or their number."

_PIXEL_RANGE = 255
_MOST_CLASSES = 65535
"""Label maps are 16 bits wide at most, with one value for pixels without a class."""


def image_steps(
    channels: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channel_order: ChannelOrderName | None = None,
    decoding: DecodingName | None = None,
    resize: Resize | None = None,
    pad: Pad | None = None,
) -> tuple[Decoding, tuple[Step, ...]]:
    """How files are decoded, and the steps that follow: resize, colours in the network's order, normalise,
    pad.

    Args:
        channels: Channels of the network's input.
        mean: One for each channel, or one for all, in the units of the image. ``None``: 0.
        std: As ``mean``. ``None``: 1.
        channel_order: What a network of three channels takes; ``None``: RGB.
        decoding: ``color`` and ``grayscale`` convert colours, ``unchanged`` keeps channels and type with
            colours as BGR, ``bands`` keeps the file's order, too. ``None``: what the number of channels
            suggests.
        resize: ``None``: images keep their size.
        pad: ``None``: nothing is padded.

    Raises:
        UsageError: a value is wrong, or contradicts another one.
    """
    decoder = _decoding(decoding, channels)
    return decoder, usual_steps(
        *_normalisation(mean, std, channels, only_bytes=decoder.color in _CHANNELS),
        channel_order=_order(channel_order, decoder, channels),
        resize=resize,
        pad=pad,
    )


def class_names(given: Sequence[str]) -> tuple[str, ...]:
    """The class names that a user gives: names, one ``.txt`` file with a name per line, or one whole number.

    Raises:
        UsageError: the file cannot be read, two classes have one name, or the number is 0 or above 65,535.
    """
    if len(given) == 1 and given[0].isdecimal():
        if not 1 <= int(given[0]) <= _MOST_CLASSES:
            raise UsageError(f"a number of classes is 1 to {_MOST_CLASSES}, not {given[0]}")
        return numbered_classes(int(given[0]))
    file = names_file(given)
    names = tuple(given) if file is None else _names_in(file)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two classes have the name '{twice}'", hint="scores are listed by name")
    return names


def both_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of both labels of a network with one channel: ``background`` before a single one.

    So each is scored as a class. mmsegmentation counts every pixel for a data set of one class.
    """
    return ("background", *names) if len(names) == 1 else names


def numbered_classes(count: int) -> tuple[str, ...]:
    """Names for classes that nobody has named: ``class 0``, ``class 1``, ..."""
    return tuple(f"class {index}" for index in range(count))


def names_file(given: Sequence[str]) -> Path | None:
    """The file of the class names, if a user gives one."""
    return expanded(given[0]) if len(given) == 1 and given[0].endswith(".txt") else None


def _names_in(file: Path) -> tuple[str, ...]:
    try:
        lines = read_regular_text(file).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the class names in {file} cannot be read: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _decoding(name: DecodingName | None, channels: int) -> Decoding:
    if name is None:
        return Decoding.for_channels(channels)
    given = _CHANNELS.get(name, channels)
    if given != channels:
        raise UsageError(
            f"the network takes {_counted(channels)}, and decoding '{name}' gives {_counted(given)}",
            hint="leave out decoding, or give 'bands' or 'unchanged'",
        )
    return DECODINGS[name]


def _order(given: ChannelOrderName | None, decoding: Decoding, channels: int) -> ChannelOrderName:
    if channels == 3 and decoding.gives_bgr:
        return given or "rgb"
    if given is not None:
        what = "'bands' keeps the order of the file" if channels == 3 else f"these have {_counted(channels)}"
        raise UsageError(f"channel_order is for images whose colours are decoded, and {what}")
    return "bgr"  # as they are decoded


def _normalisation(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int, *, only_bytes: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means = _per_channel("mean", mean, 0.0, channels)
    stds = _per_channel("std", std, 1.0, channels)
    if min(stds) <= 0:
        raise UsageError("std must be above 0: pixels are divided by it")
    if only_bytes and min(stds) < 1 and mean is not None and max(map(abs, means)) <= 1:
        scaled = (",".join(f"{value * _PIXEL_RANGE:g}" for value in values) for values in (means, stds))
        raise UsageError(
            "mean and std are for pixels of 0 to 1, and these images have pixels of 0 to 255",
            hint="multiply them by 255: mean={} std={}; images of other types need decoding 'unchanged' or "
            "'bands'".format(*scaled),
        )
    if only_bytes and max(means) > _PIXEL_RANGE:
        raise UsageError(
            f"a mean of {max(means):g} is for wider pixels, and these images are read as pixels of 0 to 255",
            hint="give decoding 'unchanged' or 'bands', which keep the type of the file",
        )
    return means, stds


def _per_channel(
    name: str, given: Sequence[float] | None, default: float, channels: int
) -> tuple[float, ...]:
    values = (default,) if given is None else tuple(given)
    if len(values) not in (1, channels):
        raise UsageError(
            f"{name} has {counted(len(values), 'value')}, and the network takes {_counted(channels)}",
            hint="give one value for each channel, or one for all",
        )
    if not all(map(math.isfinite, values)):
        raise UsageError(f"{name} takes finite numbers, not {' '.join(f'{value:g}' for value in values)}")
    return values if len(values) == channels else values * channels


def _counted(channels: int) -> str:
    return counted(channels, "channel")
