"""Find and build the transforms of a pipeline, as mmengine does: by name, by scope and name, or by class."""

from __future__ import annotations

import copy
from typing import Any

from segplug.errors import ModelError
from segplug_mmseg.compat import report_warnings
from segplug_mmseg.explain import explained
from segplug_mmseg.pipeline.transforms import transform_name
from segplug_mmseg.values import type_name

__all__ = ["build", "is_theirs", "name_of", "title_of", "transform_class"]

_THEIRS = ("mmcv.transforms.", "mmseg.datasets.transforms.")
"""Modules whose transforms segplug knows."""


def transform_class(step: Any) -> Any:
    """The class that the settings of a transform mean, or a callable itself; ``None``: no registry has it."""
    if not isinstance(step, dict):
        return step if isinstance(step, type) else type(step)
    if not isinstance(step["type"], str):
        return step["type"]
    from mmengine.registry import TRANSFORMS

    with TRANSFORMS.switch_scope_and_registry(step.get("_scope_")) as registry:
        return registry.get(step["type"])


def is_theirs(kind: Any) -> bool:
    """Whether a class is one of mmcv's or mmseg's own, and not one of the user's, even of the same name."""
    return str(getattr(kind, "__module__", "")).startswith(_THEIRS)


def name_of(step: Any) -> str:
    """The name of a transform's class, without a scope."""
    return type_name(step["type"]) if isinstance(step, dict) else transform_name(step)


def title_of(step: Any) -> str:
    """As :func:`name_of`, with the module in front where the class is not mmcv's or mmseg's."""
    kind = transform_class(step)
    if kind is None or is_theirs(kind) or not isinstance(step, dict):
        return name_of(step)
    return f"{getattr(kind, '__module__', '')}.{name_of(step)}"


def build(step: Any) -> Any:
    """The transform of these settings.

    Raises:
        ModelError: mmseg cannot build it: a setting is unknown, missing or wrong.
    """
    from mmengine.registry import TRANSFORMS

    what = f"mmseg cannot build {name_of(step)} of the test pipeline"
    with explained(ModelError, what), report_warnings():
        return TRANSFORMS.build(copy.deepcopy(step))
