"""Measure one family, print each row as JSON: ``python -m matrix.measure SOURCE FAMILY PART...``.

Each family has a process of its own, so that a crash does not affect the others.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.families import Case
from matrix.inputs import sample_input
from matrix.rows import FORM, FORMATS, Row, reason_of
from matrix.sources import SOURCES, Source

if TYPE_CHECKING:
    from segplug.api import Segplug
    from segplug.comparison import Comparison
    from segplug.model import SegmentationModel
    from segplug.results import Artifact

LEAST_SIZES = 3
"""A file with free sizes must be compared at this many sizes at least."""

LEAST_SPREAD = 1e-3
"""The least standard deviation of the logits of a network, as a share of the largest."""

FORM_LIMIT = 1e-5
"""The largest difference of an exportable form, as a share of the largest logit."""


SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "torch-export": ".pt2"}
"""The suffix of each format's file."""


def measure(source: Source, family: str, parts: Sequence[str]) -> Iterator[Row]:
    """One row for each of the parts. A failed export gives a row with the reason."""
    from segplug import Segplug
    from segplug.errors import SegplugError

    session, case = Segplug(), source.families[family]

    @cache
    def loaded(slides: bool) -> SegmentationModel:
        return source.models.load(session, family, case, slides=slides)

    sliding = partial(_sliding, source)
    works: dict[str, Callable[..., Row]] = {
        FORM: measure_form,
        "static": _whole,
        "dynamic": _whole,
        "slide": sliding,
        **dict.fromkeys(FORMATS, _whole),
    }
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            blank = Row(
                family, case.config, part, passed=False, versions=source.versions(part), cpus=os.cpu_count()
            )
            file = Path(folder) / f"{part}{SUFFIXES[_format(part)]}"
            try:
                yield works[part](session, loaded(part == "slide"), case, blank, file)
            except Exception as error:  # the other modes are measured all the same
                kind = "" if isinstance(error, SegplugError) else f"{type(error).__name__}: "
                yield replace(blank, reason=kind + reason_of(error))


def measure_form(_: Segplug, model: SegmentationModel, case: Case, blank: Row, __: Path) -> Row:
    """Compare the exportable form with the original in PyTorch, at the size of the export and another.

    The other is odd, or where the network does not take that, a multiple of what the size is a multiple of.
    """
    import torch

    form = model.exportable()
    height, width = model.meta.inference.crop_size or case.size
    compared: list[str] = []
    found: list[float] = []
    odd, multiple = (height + height // 4 + 3, width + width // 4 + 3), (2 * height, 2 * width)
    for size in ((height, width), odd, multiple):
        image = torch.from_numpy(sample_input(model.meta, size))[None]
        with torch.inference_mode():
            try:
                expected = model.module(image)
            except Exception:  # a network may take one size only, and then raises anything
                if not compared:
                    raise
                continue
            difference = (form(image) - expected).abs().max() / expected.abs().max()
        if not expected.std() > LEAST_SPREAD * expected.abs().max():
            return replace(blank, reason="all its logits are alike, so that nothing is compared")
        compared.append("sample 1x{}x{}".format(*size))
        found.append(float(difference))
        if size == odd:
            break
    passed = max(found) <= FORM_LIMIT
    reason = None if passed else f"it differs by {max(found):.1e}, more than {FORM_LIMIT:.0e}"
    return replace(
        blank, passed=passed, reason=reason, compared_at=tuple(compared), relative_difference=max(found)
    )


def _whole(session: Segplug, model: SegmentationModel, case: Case, blank: Row, file: Path) -> Row:
    """A file of the whole input: compare it with the network, at several sizes if they are free."""
    slides = model.meta.inference.mode == "slide"
    shape = None if slides else case.size
    target = _format(blank.mode)
    artifact, seconds = _exported(session, model, file, target, shape=shape, dynamic=blank.mode == "dynamic")
    comparison = session.verify(artifact, model, trust_artifact=True)
    height, width = shape or model.meta.inference.crop_size or case.size
    row = _row(replace(blank, exported_for=f"{height}x{width}"), session, artifact, comparison, seconds)
    if blank.mode == "dynamic" and artifact.meta.input_limits is not None:
        sizes = {name.split()[1].split("x", 1)[1] for name in row.compared_at}
        if len(sizes) < LEAST_SIZES:
            return replace(row, passed=False, reason=f"compared at {', '.join(sorted(sizes))} only")
    return row


def _sliding(
    source: Source, session: Segplug, model: SegmentationModel, case: Case, blank: Row, file: Path
) -> Row:
    """Compare the runtime's slide inference on the file of one window with that of the source's framework."""
    from segplug.runtime.runner import Runner
    from segplug.runtime.slide import Slider
    from segplug.verification.compare import Pair, compare
    from segplug.verification.stability import perturbed_runs

    artifact, seconds = _exported(session, model, file, "onnx", shape=None, dynamic=False)
    windows = model.meta.inference
    assert windows.crop_size is not None  # the options made it slide
    (crop_h, crop_w), step = windows.crop_size, windows.stride
    # Not a whole number of steps, so that the last window of each axis is moved back into the image. Windows
    # that lie even are those of an image with one edge of their own size.
    height, width = (
        (crop_h, 2 * crop_w + 7) if step is None else (crop_h + step[0] // 2 + 5, crop_w + step[1] // 2 + 7)
    )
    image = sample_input(model.meta, (height, width))
    expected = source.models.slide_inference(model)
    with session.open(artifact, backend="onnxruntime") as engine:
        actual = Slider(Runner(engine))(image)
    perturbed = partial(perturbed_runs, expected, image)
    comparison = compare(
        [Pair(f"sample 1x{height}x{width}", expected(image), actual, perturbed=perturbed)],
        threshold=model.meta.threshold,
        logits=model.meta.scores == "logits",
        multilabel=model.meta.multilabel,
    )
    size = f"{crop_h}x{crop_w} " + ("spread evenly" if step is None else "every {}x{}".format(*step))
    return _row(replace(blank, exported_for=size), session, artifact, comparison, seconds)


def _exported(
    session: Segplug, model: SegmentationModel, file: Path, target: str, *, shape: Any, dynamic: bool
) -> tuple[Artifact, float]:
    """The file, and the processor time of its export, to which other work on the machine adds little."""
    start = time.process_time()
    artifact = session.export(target, model, output=file, shape=shape, dynamic=dynamic)
    return artifact, time.process_time() - start


def _format(part: str) -> str:
    return part if part in FORMATS else "onnx"


def _row(blank: Row, session: Segplug, artifact: Artifact, comparison: Comparison, seconds: float) -> Row:
    with session.open(artifact, trust_artifact=True) as engine:
        spec = engine.spec
    return replace(
        blank,
        passed=comparison.passed,
        reason="; ".join(comparison.failures) or None,
        takes=f"batch {spec.batch}, height {spec.height}, width {spec.width}",
        compared_at=comparison.inputs,
        relative_difference=comparison.relative_difference,
        label_agreement=comparison.label_agreement,
        firm_agreement=comparison.firm_agreement,
        unstable=comparison.unstable,
        megabytes=artifact.path.stat().st_size / 1e6,
        seconds=seconds,
        clock="processor",
    )


if __name__ == "__main__":
    chosen = SOURCES[sys.argv[1]]
    if missing := chosen.missing():
        sys.exit(missing)
    for row in measure(chosen, sys.argv[2], sys.argv[3:]):
        print(json.dumps(asdict(row)), flush=True)
