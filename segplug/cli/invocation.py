"""One call of a target's command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug.api import Segplug
from segplug.cli.output import Output
from segplug.installed import Provider

__all__ = ["Invocation"]


@dataclass(frozen=True)
class Invocation:
    """The arguments of one call, and the output for its result."""

    session: Segplug
    provider: Provider
    """The target."""
    output: Output
    values: Mapping[str, Any]
    """All parameters of the command, by name."""
    own: Mapping[str, Any]
    """The options that the target declares, where they were given."""
    choice: str = ""
    """One line to say with the results: which backend was chosen. Empty: the user named it."""
