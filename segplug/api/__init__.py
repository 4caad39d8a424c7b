"""The Python API of segplug: :class:`Segplug`."""

from __future__ import annotations

from segplug.api.application import Segplug

__all__ = ["Segplug"]
