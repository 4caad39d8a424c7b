"""Test pipelines: read as segplug reads them."""

from __future__ import annotations

from typing import Any

from segplug_mmseg.pipeline.preprocessing import Preprocessing
from segplug_mmseg.v0.pipeline import read_pipeline

from segplug.progress import QuietReporter

__all__ = ["NORMALISE", "augmented", "read", "steps_of"]

NORMALISE: dict[str, Any] = {"type": "Normalize", "mean": [1, 2, 3], "std": [4, 5, 6]}


def read(*transforms: Any, loader: Any = None, network: int | None = None, **arguments: Any) -> Preprocessing:
    """Read a pipeline of a loader (mmseg's own by default) and ``transforms``."""
    pipeline = [{"type": "LoadImageFromFile"} if loader is None else loader, *transforms]
    config = {"data": {"test": {"pipeline": pipeline}}}
    return read_pipeline(config, QuietReporter(), network=network, **arguments)


def augmented(*transforms: Any, **settings: Any) -> dict[str, Any]:
    """A ``MultiScaleFlipAug`` of ``transforms``."""
    return {"type": "MultiScaleFlipAug", "transforms": list(transforms), **settings}


def steps_of(*transforms: Any, **arguments: Any) -> tuple[Any, ...]:
    """The steps of a pipeline of mmseg's loader and ``transforms``."""
    return read(*transforms, **arguments).steps
