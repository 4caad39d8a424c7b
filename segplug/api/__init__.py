"""The Python face of segplug: :class:`Segplug`, and what it asks of sources and of what it works on."""

from __future__ import annotations

from segplug.api.application import Segplug

__all__ = ["Segplug"]
