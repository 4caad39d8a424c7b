"""The options of all engine builders of this plugin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segplug.options import option

__all__ = ["BuildOptions"]

_SHAPE = "NxCxHxW"


@dataclass(frozen=True)
class BuildOptions:
    """Options of ``build_engine tensorrt`` and ``build_engine torch-tensorrt``."""

    min_shape: tuple[str, ...] = option(
        (),
        help="Smallest input shape: 1x3x512x1024, or four numbers. One shape for each profile. "
        "Default: the shape of --opt-shape.",
        metavar=_SHAPE,
    )
    opt_shape: tuple[str, ...] = option(
        (), help="Input shape to tune the engine for. Default: the shape of --max-shape.", metavar=_SHAPE
    )
    max_shape: tuple[str, ...] = option(
        (),
        help="Largest input shape. Default: that of --opt-shape or --min-shape; without them, one image of "
        "the model's own size.",
        metavar=_SHAPE,
    )
    workspace_size: float | None = option(
        None, help="Scratch memory that a layer may use, in GiB. Default: no limit.", minimum=0.001
    )
    timing_cache: Path | None = option(
        None, help="File of kernel timings, read and updated: it makes the next build faster.", metavar="FILE"
    )
    verbose: bool = option(False, help="Show all messages of the builder.")
