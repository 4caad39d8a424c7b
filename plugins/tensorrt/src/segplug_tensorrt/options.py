"""What every engine builder of this plugin can be told."""

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
        help="Smallest input: 1x3x512x1024, or the four numbers. Again for each further profile. "
        "Default: the usual one.",
        metavar=_SHAPE,
    )
    opt_shape: tuple[str, ...] = option(
        (), help="Usual input, for which the engine is tuned. Default: the largest.", metavar=_SHAPE
    )
    max_shape: tuple[str, ...] = option(
        (), help="Largest input. Default: one image of the model's own size.", metavar=_SHAPE
    )
    workspace_size: float | None = option(
        None, help="GiB of scratch memory that a layer may use. Default: all that there is.", minimum=0.001
    )
    timing_cache: Path | None = option(
        None, help="File of measured kernels, read and written: the next build is faster.", metavar="FILE"
    )
    verbose: bool = option(False, help="Show all that the builder says.")
