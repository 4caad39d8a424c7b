"""The settings of a processor: what its file says, over the defaults of its class, read with their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segplug.errors import ModelError
from segplug.text import counted
from segplug_transformers.options import Backend
from segplug_transformers.processor.classes import ProcessorClass

__all__ = ["Settings"]

_SMALLEST, _LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127
"""What float32, in which the processors compute, can hold in full precision."""


@dataclass(frozen=True)
class Settings:
    """What a processor was told, and what it assumes."""

    processor: ProcessorClass
    backend: Backend
    given: Mapping[str, Any]
    """The content of the file."""
    place: str
    """The name of the file, for messages."""
    channels: int
    """Channels of the images."""

    def get(self, key: str) -> Any:
        """A value, or the default of the class where the file has none. Null is a value: off, or nothing."""
        return self.given.get(key, self.processor.defaults.get(key))

    def refusal(self, message: str, hint: str | None = None) -> ModelError:
        """The error for settings that cannot be followed."""
        return ModelError(f"{self.place}: {message}", hint=hint)

    def flag(self, key: str) -> bool:
        """Whether a switch is on; absent, or null: off.

        Raises:
            ModelError: it is neither true nor false.
        """
        value = self.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.refusal(f"{key} is {value!r}, not true or false")

    def whole(self, key: str) -> int | None:
        """A whole number; ``None``: absent, or null.

        Raises:
            ModelError: it is something else.
        """
        value = self.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.refusal(f"{key} is {value!r}, not a whole number")

    def factor(self, key: str) -> float:
        """A number above zero.

        Raises:
            ModelError: it is absent, or something else.
        """
        value = _number(self.get(key))
        if value is None or value <= 0:
            raise self.refusal(f"{key} is {self.get(key)!r}, not a number above zero")
        return value

    def each_channel(self, key: str, *, above_zero: bool = False) -> tuple[float, ...]:
        """One number for each channel; a file may give one for all.

        Raises:
            ModelError: it is absent, of another number of channels, or something else.
        """
        value = self.get(key)
        if value is None:
            raise self.refusal(f"do_normalize is true, but there is no {key}")
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        numbers = [_number(each) for each in (value if listed else [value] * self.channels)]
        if len(numbers) != self.channels:
            raise self.refusal(
                f"{key} has {counted(len(numbers), 'value')}, but the network takes images with "
                f"{counted(self.channels, 'channel')}"
            )
        found = tuple(number for number in numbers if number is not None and (number > 0 or not above_zero))
        if len(found) != len(numbers):
            kind = "numbers above zero" if above_zero else "numbers"
            raise self.refusal(f"{key} is {value!r}, not {kind}")
        return found


def _number(value: Any) -> float | None:
    """A number that float32 can hold, as float; ``None``: the value is something else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Compared before it is converted: an integer of 400 digits is no float.
    return float(value) if value == 0 or _SMALLEST <= abs(value) <= _LARGEST else None
