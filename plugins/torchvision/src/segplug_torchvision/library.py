"""Import torchvision, or say how to install one that fits."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import types

from segplug.errors import MissingDependencyError, first_line
from segplug.quiet import quiet

__all__ = ["import_models"]


def import_models() -> types.ModuleType:
    """``torchvision.models``; what torchvision prints while it is imported is dropped.

    Raises:
        MissingDependencyError: torchvision is not installed, or its build does not fit the installed PyTorch.
    """
    if importlib.util.find_spec("torchvision") is None:
        raise MissingDependencyError(
            "models of torchvision need torchvision, which is not installed", hint="pip install torchvision"
        )
    try:
        with quiet():
            return importlib.import_module("torchvision.models")
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        import torch

        raise MissingDependencyError(
            f"torchvision {_version()} does not fit PyTorch {torch.__version__}: {first_line(error)}",
            hint="install the torchvision that belongs to this PyTorch, from where this PyTorch came (a CPU "
            "build for a CPU build, CUDA for CUDA): pip install --force-reinstall --no-deps torchvision",
        ) from error


def _version() -> str:
    try:
        return importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"
