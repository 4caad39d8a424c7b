"""Import OpenCV and Pillow, which only the runtime needs, or say how to install them."""

from __future__ import annotations

import importlib
from typing import Any

from segplug.errors import MissingDependencyError

__all__ = ["opencv", "pillow"]


def opencv() -> Any:
    """The ``cv2`` module; raises :class:`MissingDependencyError` if it is not installed."""
    return _module("cv2", "OpenCV")


def pillow() -> Any:
    """The ``PIL.Image`` module; raises :class:`MissingDependencyError` if it is not installed."""
    return _module("PIL.Image", "Pillow")


def _module(name: str, called: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"running an engine needs {called}: {error}", hint='pip install "segplug[runtime]"'
        ) from error
