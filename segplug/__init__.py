"""segplug: take trained semantic-segmentation models to production, through plugins.

The public names are imported when they are first used, so that ``import segplug`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from segplug.version import __version__

_MODULES = {
    "AddOn": "segplug.providers",
    "Artifact": "segplug.results",
    "Axis": "segplug.engine",
    "Backend": "segplug.providers",
    "Comparison": "segplug.comparison",
    "Engine": "segplug.engine",
    "EngineSpec": "segplug.engine",
    "ModelMeta": "segplug.model",
    "Segplug": "segplug.api",
    "Segmentation": "segplug.api.segmentation",
    "SegmentationModel": "segplug.model",
    "hookimpl": "segplug.hookspecs",
    "option": "segplug.options",
}

__all__ = [*sorted(_MODULES), "__version__"]

if TYPE_CHECKING:
    from segplug.api import Segplug as Segplug
    from segplug.api.segmentation import Segmentation as Segmentation
    from segplug.comparison import Comparison as Comparison
    from segplug.engine import Axis as Axis
    from segplug.engine import Engine as Engine
    from segplug.engine import EngineSpec as EngineSpec
    from segplug.hookspecs import hookimpl as hookimpl
    from segplug.model import ModelMeta as ModelMeta
    from segplug.model import SegmentationModel as SegmentationModel
    from segplug.options import option as option
    from segplug.providers import AddOn as AddOn
    from segplug.providers import Backend as Backend
    from segplug.results import Artifact as Artifact


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'segplug' has no attribute '{name}'")
    return getattr(importlib.import_module(module), name)
