"""What mmsegmentation 1.x can build besides networks that tell classes apart."""

from __future__ import annotations

from typing import Any

from segplug.errors import ModelError
from segplug_mmseg.values import type_name

__all__ = ["refuse_other_tasks"]


def refuse_other_tasks(settings: Any, location: str) -> None:
    """Raise :class:`ModelError` if ``settings``, a config's ``model``, is of another task (VPD)."""
    name = type_name(settings["type"])
    if name == "DepthEstimator":
        raise ModelError(
            f"the model of {location} is a depth estimator ({name}): it gives distances, and no classes"
        )
