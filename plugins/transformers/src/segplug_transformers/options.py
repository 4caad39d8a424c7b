"""The option of the source ``transformers``: whose resizing the numbers are of."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from segplug.options import option

__all__ = ["Backend", "Options", "installed_backend"]

Backend = Literal["pil", "torchvision"]
"""The two forms of each processor of transformers, which resize differently."""


@dataclass(frozen=True)
class Options:
    """Options of the model source ``transformers``."""

    processor: Literal["auto", "pil", "torchvision"] = option(
        "auto",
        help="Whose numbers the preprocessing gives: those of the processor that uses Pillow, or of the one "
        "that uses torchvision. auto: the one that transformers itself would take, torchvision's where "
        "torchvision is installed.",
    )


def installed_backend() -> Backend:
    """The form of a processor that transformers itself takes in this environment; nothing is imported."""
    return "torchvision" if importlib.util.find_spec("torchvision") else "pil"
