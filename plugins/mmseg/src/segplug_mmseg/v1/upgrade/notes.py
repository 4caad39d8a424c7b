"""What of a config cannot be translated: refused by name, or noted."""

from __future__ import annotations

from typing import NoReturn

from segplug.errors import ModelError

__all__ = ["Notes"]


class Notes:
    """Collects one line for each setting that mmsegmentation 1.x does not have, or does otherwise.

    Args:
        location: The config, for messages.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._prediction: dict[str, None] = {}
        self._training: dict[str, None] = {}

    @property
    def prediction(self) -> tuple[str, ...]:
        """What concerns predictions and their scores."""
        return tuple(self._prediction)

    @property
    def training(self) -> tuple[str, ...]:
        """What concerns training only."""
        return tuple(self._training)

    def on_prediction(self, line: str) -> None:
        """Note what changes predictions, or how they are scored."""
        self._prediction[line] = None

    def on_training(self, line: str) -> None:
        """Note what changes training."""
        self._training[line] = None

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        """Raise :class:`ModelError`: predictions would not be those of mmsegmentation 0.x."""
        raise ModelError(
            f"{self._location} cannot be upgraded to mmsegmentation 1.x: {problem}",
            hint=hint or "change the config, or use mmsegmentation 0.x",
        )
