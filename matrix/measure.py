"""Export one family in each mode, compare, print each row as JSON: ``python -m matrix.measure FAMILY``.

Each family has a process of its own, so that a crash does not affect the others.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.families import FAMILIES, Case
from matrix.rows import Row

if TYPE_CHECKING:
    from segplug.api import Segplug
    from segplug.comparison import Comparison
    from segplug.model import SegmentationModel
    from segplug.results import Artifact

MADE_BY = (
    "segplug",
    "segplug-torch",
    "segplug-mmseg",
    "segplug-onnx",
    "mmsegmentation",
    "mmcv",
    "mmcv-full",
    "torch",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
)

LEAST_SIZES = 3
"""A file with free sizes must be compared at this many sizes at least."""


def versions() -> dict[str, str]:
    """The installed versions that a measurement depends on."""
    found = {}
    for name in MADE_BY:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def measure(family: str, case: Case) -> Iterator[Row]:
    """One row for each mode. A failed export gives a row with the reason."""
    from segplug import Segplug
    from segplug.errors import SegplugError

    session = Segplug()
    with tempfile.TemporaryDirectory() as folder:
        for mode, work in (("static", _whole), ("dynamic", _whole), ("slide", _sliding)):
            blank = Row(family, case.config, mode, passed=False, versions=versions(), cpus=os.cpu_count())
            try:
                yield work(session, case, blank, Path(folder) / f"{mode}.onnx")
            except Exception as error:  # the other modes are measured all the same
                kind = "" if isinstance(error, SegplugError) else f"{type(error).__name__}: "
                yield replace(blank, reason=kind + " ".join(str(error).split()))


def _whole(session: Segplug, case: Case, blank: Row, file: Path) -> Row:
    """Static or dynamic: compare the file with the network, at several sizes if they are free."""
    model = load(session, blank.family, case, {})
    slides = model.meta.inference.mode == "slide"
    shape = None if slides else case.size
    artifact, seconds = _exported(session, model, file, shape=shape, dynamic=blank.mode == "dynamic")
    comparison = session.verify(artifact, model)
    height, width = shape or model.meta.inference.crop_size or case.size
    row = _row(replace(blank, exported_for=f"{height}x{width}"), session, artifact, comparison, seconds)
    if blank.mode == "dynamic" and artifact.meta.input_limits is not None:
        sizes = {name.split()[1].split("x", 1)[1] for name in row.compared_at}
        if len(sizes) < LEAST_SIZES:
            return replace(row, passed=False, reason=f"compared at {', '.join(sorted(sizes))} only")
    return row


def _sliding(session: Segplug, case: Case, blank: Row, file: Path) -> Row:
    """Compare the runtime's slide inference on the file of one window with mmseg's own slide inference."""
    import torch

    from segplug.runtime.preprocess import Preprocessor
    from segplug.runtime.runner import Runner
    from segplug.runtime.slide import Slider
    from segplug.verification.compare import Pair, compare
    from segplug.verification.run import verification_images
    from segplug.verification.stability import perturbed_runs

    model = load(session, blank.family, case, dict(case.window))
    artifact, seconds = _exported(session, model, file, shape=None, dynamic=False)
    (crop_h, crop_w), (step_h, step_w) = model.meta.inference.crop_size, model.meta.inference.stride
    # Not a whole number of steps, so that the last window of each axis is moved back into the image.
    height, width = crop_h + step_h // 2 + 5, crop_w + step_w // 2 + 7
    ((name, sample, meta),) = verification_images((), model.meta, (height, width))
    image = Preprocessor(meta)(sample, name).array

    def mmseg_logits(array: Any) -> Any:
        images = torch.from_numpy(array)[None]
        with torch.inference_mode():
            return model.module.segmentor.slide_inference(images, [{}], False)[0].numpy()

    with session.open(artifact, backend="onnxruntime") as engine:
        actual = Slider(Runner(engine))(image)
    perturbed = partial(perturbed_runs, mmseg_logits, image)
    comparison = compare(
        [Pair(f"sample 1x{height}x{width}", mmseg_logits(image), actual, perturbed=perturbed)]
    )
    size = f"{crop_h}x{crop_w} every {step_h}x{step_w}"
    return _row(replace(blank, exported_for=size), session, artifact, comparison, seconds)


def load(session: Segplug, family: str, case: Case, options: dict[str, object]) -> SegmentationModel:
    from segplug_mmseg.compat import import_mmseg

    from segplug.testing import randomise

    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    model = session.load_model(configs / family / case.config, cfg_options=options)
    randomise(model.module)
    return model


def _exported(
    session: Segplug, model: SegmentationModel, file: Path, *, shape: Any, dynamic: bool
) -> tuple[Artifact, float]:
    start = time.perf_counter()
    artifact = session.export("onnx", model, output=file, shape=shape, dynamic=dynamic)
    return artifact, time.perf_counter() - start


def _row(blank: Row, session: Segplug, artifact: Artifact, comparison: Comparison, seconds: float) -> Row:
    with session.open(artifact, backend="onnxruntime") as engine:
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
    )


if __name__ == "__main__":
    for row in measure(sys.argv[1], FAMILIES[sys.argv[1]]):
        print(json.dumps(asdict(row)), flush=True)
