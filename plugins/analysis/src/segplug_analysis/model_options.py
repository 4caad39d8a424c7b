"""The options of every report that loads a config: which source reads it, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.options import as_keywords, option

if TYPE_CHECKING:
    from segplug.session import Session

__all__ = ["ModelOptions", "WeightsOptions"]


@dataclass(frozen=True)
class ModelOptions:
    """Options of a report that loads a config."""

    cfg_options: Mapping[str, Any] | None = option(None, help="Override settings of the config.")
    source: str | None = option(None, help="The source that reads the config.", metavar="NAME")
    source_options: Mapping[str, Any] | None = option(
        None, help="Options of the source that reads the config."
    )

    approximate: bool = option(
        False,
        help="Leave out preprocessing that cannot be done exactly, in place of an error. The report lists "
        "it.",
    )

    trust_artifact: bool = option(
        False, help="Open a file that is a program without checking it. It can run code."
    )

    def loading(self, session: Session) -> dict[str, Any]:
        """These options as keywords of ``session.load_model``.

        Raises:
            UsageError: as :meth:`keywords`.
        """
        how = {"approximate": self.approximate, "trust_artifact": self.trust_artifact}
        return {**self.keywords(session.load_model), **how}

    def keywords(self, method: Callable[..., Any]) -> dict[str, Any]:
        """These options as keywords of a session's method that loads a config.

        Raises:
            UsageError: ``--source-options`` has a parameter of the method, which is no option of a source.
        """
        own = as_keywords(self.source_options, method, flag="--source-options")
        return {"cfg_options": self.cfg_options, "source": self.source, **own}


@dataclass(frozen=True)
class WeightsOptions(ModelOptions):
    """Options of a report that also loads the weights of a config's network."""

    trust_checkpoint: bool = option(
        False, help="Load a checkpoint that holds more than plain data. It can run code."
    )
    allow_nonfinite: bool = option(
        False, help="Go on if weights or scores are NaN or infinite, in place of an error."
    )
