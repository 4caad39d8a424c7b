"""The errors that a user may see.

Every error carries one line that says what is wrong and, where there is one, what to do about it.
The command line prints that line and exits with ``exit_code``; anything that is not a
:class:`SegplugError` is a bug and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "DatasetError",
    "DeviceError",
    "EngineError",
    "MissingDependencyError",
    "ModelError",
    "PluginError",
    "RefusedError",
    "SegplugError",
    "ShapeError",
    "SpaceError",
    "UntrustedCheckpointError",
    "UntrustedError",
    "UsageError",
    "VerificationError",
    "first_line",
    "is_interrupt",
]


class SegplugError(Exception):
    """Something went wrong that a user can act on.

    Args:
        message: One line: what is wrong, naming the file, option or value.
        hint: What to do about it, if that is not already plain from ``message``.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split()) if hint else None

    def add_hint(self, hint: str) -> None:
        """Say one more thing to do, if ``hint`` is not empty."""
        self.hint = "; ".join(filter(None, (self.hint, hint))) or None

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(SegplugError):
    """The request itself was wrong: an unknown target or option, a path that is not there."""

    exit_code = 2


class PluginError(SegplugError):
    """A plugin is broken, outdated, or does not keep to its hook's contract."""


class RefusedError(SegplugError):
    """An add-on refused the request. Add-ons raise this; the message is their reason."""


class MissingDependencyError(SegplugError):
    """A library that this target needs is not installed; the message names the command."""


class ModelError(SegplugError):
    """A model could not be loaded or built from its config."""


class CheckpointError(ModelError):
    """A checkpoint is unreadable, unsafe, or belongs to another model."""


class UntrustedCheckpointError(CheckpointError):
    """A checkpoint holds more than plain data, and the user has not said to trust it."""


class ShapeError(SegplugError):
    """The network or the engine cannot take an input of this shape."""


class DatasetError(SegplugError):
    """A data set, an image or a mask is missing, unreadable or inconsistent."""


class ArtifactError(SegplugError):
    """An artifact is damaged, of another format, or could not be written."""


class SpaceError(ArtifactError):
    """The disk has no room for what is going to be written."""


class UntrustedError(ArtifactError):
    """An artifact may run code when it is opened or run, and the user has not said to trust it."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = (
            "if you trust whoever made it, add --trust-artifact: it may run code on this machine"
        ),
    ) -> None:
        super().__init__(message, hint=hint)


class DeviceError(SegplugError):
    """The device or execution provider that was asked for is not available."""


class EngineError(SegplugError):
    """An open engine stopped working: its server has ended, or gives an invalid answer."""


class NonfiniteError(EngineError):
    """A network's weights or scores are NaN or infinite, and its labels would mean nothing."""


class VerificationError(SegplugError):
    """An artifact cannot be verified, or its verification failed."""


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or the name of its class if it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def is_interrupt(error: BaseException) -> bool:
    """Whether the user ends the work (Ctrl-C, SIGTERM): that is no fault of the code that it ends.

    Code of a user or a plugin may raise anything: SystemExit, its own kind of KeyboardInterrupt. These are
    errors in it.
    """
    return type(error) is KeyboardInterrupt
