"""Import the libraries that only some runs need, or say how to install them."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

from segplug.errors import MissingDependencyError, first_line

__all__ = ["TIFF_HINT", "opencv", "pillow", "pyav", "rasterio", "tifffile", "turbojpeg"]

TIFF_HINT = 'pip install "segplug[tiff]"'
"""How to install tifffile and imagecodecs."""


def opencv() -> Any:
    """The ``cv2`` module; raises :class:`MissingDependencyError` if it is not installed."""
    return _module("cv2", "running an engine needs OpenCV", 'pip install "segplug[runtime]"')


def pillow() -> Any:
    """The ``PIL.Image`` module; raises :class:`MissingDependencyError` if it is not installed."""
    module = _module("PIL.Image", "running an engine needs Pillow", 'pip install "segplug[runtime]"')
    _allow_large_images(module)
    return module


@functools.cache
def _allow_large_images(module: Any) -> None:
    """Turn off Pillow's warning of large images: they are read up to the size that Pillow refuses."""
    warnings.filterwarnings("ignore", category=module.DecompressionBombWarning)


def tifffile() -> Any:
    """The ``tifffile`` module; raises :class:`MissingDependencyError` if it is not installed."""
    return _module("tifffile", "TIFF of any channels and type needs tifffile", TIFF_HINT)


def pyav() -> Any:
    """The ``av`` module; raises :class:`MissingDependencyError` if it is not installed."""
    return _module("av", "video needs PyAV", 'pip install "segplug[video]"')


def rasterio() -> Any | None:
    """The ``rasterio`` module; ``None``: it is not installed."""
    try:
        return importlib.import_module("rasterio")
    except ImportError:
        return None


@functools.cache
def turbojpeg() -> tuple[Any, Any]:
    """The ``turbojpeg`` module and its decoder; raises :class:`MissingDependencyError` if one is missing."""
    needed = "the model's images are decoded with turbojpeg"
    module = _module("turbojpeg", needed, "pip install PyTurboJPEG")
    try:
        return module, module.TurboJPEG()
    except (OSError, RuntimeError, AttributeError) as error:
        raise MissingDependencyError(
            f"{needed}, which finds no libjpeg-turbo: {first_line(error)}",
            hint="install the system's libturbojpeg",
        ) from error


def _module(name: str, needed: str, hint: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(f"{needed}: {error}", hint=hint) from error
