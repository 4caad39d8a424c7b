"""Find and import TensorRT or TensorRT-RTX. Their Python interfaces have the same names."""

from __future__ import annotations

import importlib
import importlib.util
import re
from dataclasses import dataclass
from typing import Any, Literal

from segplug.errors import MissingDependencyError

__all__ = ["OLDEST", "Flavor", "Library", "load_library"]

Flavor = Literal["tensorrt", "tensorrt-rtx"]

OLDEST: dict[Flavor, tuple[int, int]] = {"tensorrt": (10, 13), "tensorrt-rtx": (1, 7)}
"""The oldest version of each with the Python interface that this plugin uses."""

_MODULES: dict[Flavor, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    # The meta package is a source distribution; its two wheels are enough.
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}

_INSTALL = {
    "tensorrt": "pip install 'segplug-tensorrt[trt]'",
    "tensorrt-rtx": "pip install 'segplug-tensorrt[rtx]'",
}


@dataclass(frozen=True)
class Library:
    """An imported TensorRT."""

    flavor: Flavor
    module: Any
    """``tensorrt`` or ``tensorrt_rtx``: the same names in both."""
    version: str

    def __str__(self) -> str:
        name = "TensorRT" if self.flavor == "tensorrt" else "TensorRT-RTX"
        return f"{name} {self.version}"


def load_library(flavor: Flavor | None = None) -> Library:
    """Import the TensorRT that is installed.

    Args:
        flavor: Which of the two; ``None``: the installed one, TensorRT if both are installed.

    Raises:
        MissingDependencyError: it is not installed, does not import, or is too old.
    """
    wanted: tuple[Flavor, ...] = ("tensorrt", "tensorrt-rtx") if flavor is None else (flavor,)
    for candidate in wanted:
        for name in _MODULES[candidate]:
            if importlib.util.find_spec(name) is not None:
                return _import(candidate, name)
    missing = " or ".join("TensorRT" if name == "tensorrt" else "TensorRT-RTX" for name in wanted)
    raise MissingDependencyError(
        f"{missing} is not installed", hint=" or ".join(_INSTALL[name] for name in wanted)
    )


def _import(flavor: Flavor, name: str) -> Library:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingDependencyError(
            f"{name} is installed but cannot be imported: {error}", hint=_INSTALL[flavor]
        ) from error
    version = str(getattr(module, "__version__", "0"))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST[flavor]:
        oldest = ".".join(map(str, OLDEST[flavor]))
        raise MissingDependencyError(
            f"{name} {version} is too old: {oldest} or later is needed", hint=_INSTALL[flavor]
        )
    return Library(flavor, module, version)
