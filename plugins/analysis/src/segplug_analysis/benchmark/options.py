"""The options of ``analyze benchmark``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug.limits import MOST_BATCH, MOST_RUNS, MOST_THREADS
from segplug.options import option
from segplug_analysis.model_options import WeightsOptions

__all__ = ["Options"]


@dataclass(frozen=True)
class Options(WeightsOptions):
    """Options of ``analyze benchmark``."""

    backend: tuple[str, ...] = option(
        (),
        help="The infer targets to time. Default: pytorch for configs, all that open the file for artifacts.",
        metavar="NAME",
    )
    checkpoint: tuple[str, ...] = option(
        (), help="Weights: one file for each config, in the same order. Default: random.", metavar="FILE"
    )
    backend_options: Mapping[str, Any] | None = option(
        None, help="Options of a backend.", metavar="BACKEND.OPTION=VALUE"
    )
    shape: tuple[int, ...] = option(
        (),
        help=(
            "Network input in pixels. Default: the size that a file fixes; engines with free sizes take that "
            "of the first such file."
        ),
        minimum=1,
        metavar="HEIGHT WIDTH",
    )
    batch: int | None = option(
        None,
        help=(
            "Images in one run. Default: the number that a file fixes; engines with a free batch take that "
            "of the first such file, else 1."
        ),
        minimum=1,
        maximum=MOST_BATCH,
    )
    device: str | None = option(None, help="cpu, cuda, cuda:1, ... Default: the backend's own.")
    threads: int | None = option(
        None, help="Threads of one run. Default: the library's own.", minimum=1, maximum=MOST_THREADS
    )
    warmup: int = option(
        5, help="Untimed runs of each engine after its first run.", minimum=0, maximum=MOST_RUNS
    )
    runs: int = option(50, help="Timed runs of each engine.", minimum=1, maximum=MOST_RUNS)
