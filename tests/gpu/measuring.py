"""Compare, score and time everything that runs the demo's network, in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from segplug import SegmentationModel
from segplug.comparison import Comparison
from tests.gpu.demo import Demo, Mode, Precision
from tests.gpu.report import Report, Row

__all__ = ["Contender", "Run", "check", "interleaved", "of_onnxruntime", "of_pytorch", "score", "time_all"]

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.generic]]

WARM_UP = 10
REPEATS = 50


@dataclass(frozen=True)
class Contender:
    """One way to run the demo's network."""

    library: str
    """Name and version of the library, for the table."""
    backend: str
    """The ``infer`` target."""
    device: str
    precision: Precision
    mode: Mode
    subject: SegmentationModel | Path
    build_seconds: float | None = None

    def row(self) -> Row:
        """Its row of the table, without measurements."""
        megabytes = self.subject.stat().st_size / 1e6 if isinstance(self.subject, Path) else None
        return Row(self.library, self.backend, self.precision, self.mode, self.build_seconds, megabytes)


def of_pytorch(demo: Demo, mode: Mode, precision: Precision, device: str) -> Contender:
    """The network itself; in fp16 with half-precision weights and arithmetic."""
    import torch

    release = torch.__version__.split("+")[0]
    return Contender(
        f"PyTorch {release}", "pytorch", device, precision, mode, demo.model(mode, precision, device)
    )


def of_onnxruntime(demo: Demo, mode: Mode, precision: Precision, device: str) -> Contender:
    """The ONNX file; in fp16 the converted graph of fp16 engines."""
    import onnxruntime

    name = f"ONNX Runtime {onnxruntime.__version__}"
    return Contender(name, "onnxruntime", device, precision, mode, demo.onnx(mode, precision))


def check(demo: Demo, contender: Contender, report: Report) -> Comparison:
    """Compare its logits with those of the fp32 network in PyTorch on the CPU."""
    assert isinstance(contender.subject, Path), "PyTorch is the reference"
    comparison = demo.session.verify(
        contender.subject,
        demo.model(contender.mode),
        images=demo.images[:2],
        backend=contender.backend,
        device=contender.device,
        precision=contender.precision,
    )
    report.add(contender.row(), difference=comparison.relative_difference)
    return comparison


def score(demo: Demo, contender: Contender, report: Report) -> float:
    """Its mIoU on the scenes."""
    ran = demo.session.evaluate(
        contender.subject, backend=contender.backend, device=contender.device, dataset=demo.dataset
    )
    assert ran.scores is not None
    miou = ran.scores.metrics["mIoU"]
    report.add(contender.row(), miou=miou)
    return miou


def time_all(
    demo: Demo,
    contenders: Sequence[Contender],
    report: Report,
    *,
    warm_up: int = WARM_UP,
    repeats: int = REPEATS,
) -> None:
    """Time contenders of one mode and precision side by side on one scene."""
    batch = demo.batch(contenders[0].mode)
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                demo.session.open(contender.subject, backend=contender.backend, device=contender.device)
            ).run
            for contender in contenders
        ]
        seconds = interleaved(runs, batch, warm_up=warm_up, repeats=repeats)
    for contender, taken in zip(contenders, seconds, strict=True):
        report.add(contender.row(), milliseconds=1000 * taken)


def interleaved(
    runs: Sequence[Run], batch: npt.NDArray[np.float32], *, warm_up: int, repeats: int
) -> list[float]:
    """The median time of each in seconds, from arrays on the host to arrays on the host.

    Each runs once per round, so that a machine that gets hot or busy slows down all of them.
    """
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(warm_up + repeats):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            run(batch)
            passed = time.perf_counter() - start
            if turn >= warm_up:
                taken.append(passed)
    return [median(taken) for taken in times]
