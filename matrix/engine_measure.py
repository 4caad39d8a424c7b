"""Build the engines of one family, print rows: ``python -m matrix.engine_measure FAMILY PRECISION...``.

Each family has a process of its own, so that a crash does not affect the others.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from matrix import mmseg_models
from matrix.engine_rows import EngineRow
from matrix.families import FAMILIES, Case
from matrix.rows import reason_of
from matrix.sources import SOURCES

if TYPE_CHECKING:
    from segplug.model import ModelMeta

__all__ = ["measure_builds", "profile_of", "versions"]

MADE_BY = ("segplug-tensorrt", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings")


def versions(_: str = "") -> dict[str, str]:
    """The installed versions that a build depends on, in whatever precision."""
    found = SOURCES["mmseg0"].versions("dynamic")
    for name in MADE_BY:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def profile_of(meta: ModelMeta, size: tuple[int, int]) -> tuple[str, str]:
    """Smallest and largest input shape: from one image to two, of twice the size if sizes may vary."""
    height, width = meta.input_size or size
    # A file with free sizes has limits; that of a network with one size has only a free batch.
    grown = 2 if meta.input_limits is not None and not meta.input_limits.is_fixed else 1
    channels = meta.in_channels
    return f"1x{channels}x{height}x{width}", f"2x{channels}x{grown * height}x{grown * width}"


def measure_builds(family: str, case: Case, precisions: Sequence[str]) -> Iterator[EngineRow]:
    """One row for each of the precisions. A failed build gives a row with the reason."""
    from segplug import Segplug
    from segplug.errors import SegplugError

    session = Segplug()
    model = mmseg_models.load(session, family, case)
    slides = model.meta.inference.mode == "slide"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        artifact = session.export(
            "onnx", model, output=file, shape=None if slides else case.size, dynamic=True
        )
        profile = profile_of(artifact.meta, case.size)
        del model
        for precision in precisions:
            blank = EngineRow(
                family,
                case.config,
                precision,
                False,
                profile=profile,
                cpus=os.cpu_count(),
                versions=versions(),
            )
            start = time.perf_counter()
            try:
                engine = session.build_engine(
                    "tensorrt",
                    artifact,
                    output=Path(folder) / f"{precision}.engine",
                    precision=precision,  # type: ignore[arg-type]
                    min_shape=profile[:1],
                    max_shape=profile[1:],
                    flavor="tensorrt-rtx",
                )
            except SegplugError as error:
                yield replace(blank, reason=reason_of(error))
                continue
            seconds = time.perf_counter() - start
            yield replace(blank, passed=True, seconds=seconds, megabytes=engine.path.stat().st_size / 1e6)


if __name__ == "__main__":
    for row in measure_builds(sys.argv[1], FAMILIES[sys.argv[1]], sys.argv[2:]):
        print(json.dumps(asdict(row)), flush=True)
