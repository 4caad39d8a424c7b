"""What a pipeline holds that segplug cannot do."""

from __future__ import annotations

from segplug.errors import ModelError

__all__ = ["Missing"]


class Missing:
    """Refuses what cannot be expressed as steps, or notes it where approximations are allowed.

    Args:
        approximate: Whether they are.
    """

    def __init__(self, approximate: bool) -> None:
        self._approximate = approximate
        self._lines: dict[str, None] = {}

    @property
    def lines(self) -> tuple[str, ...]:
        """What was left out or replaced, one line each."""
        return tuple(self._lines)

    def note(self, problem: str, instead: str) -> None:
        """Raise an error, or note what is done instead.

        Args:
            problem: What the test pipeline has, as the rest of a sentence about it.
            instead: What is done where approximations are allowed, one line.

        Raises:
            ModelError: approximations are not allowed.
        """
        if not self._approximate:
            raise ModelError(
                f"the test pipeline {problem}",
                hint=f"change the config; or give --approximate (approximate=True), and {instead}",
            )
        self._lines[instead] = None

    def leave_out(self, name: str) -> None:
        """As :meth:`note`, for a transform that is left out."""
        self.note(f"has {name}, which segplug cannot do as mmseg does", f"{name} is left out")
