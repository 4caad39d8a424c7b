"""Compare, score and time the demo's network in TensorRT, TensorRT-RTX, ONNX Runtime and PyTorch.

Times are measured and shown, but no test depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest
import torch
from segplug_tensorrt.library import Flavor

from segplug.errors import DeviceError
from tests.gpu.demo import Demo, Mode, Precision
from tests.gpu.engines import DEVICE, FLAVORS, Engines
from tests.gpu.measuring import Contender, check, of_onnxruntime, of_pytorch, score, time_all
from tests.gpu.report import Report

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]

PRECISIONS = get_args(Precision)
MODES = get_args(Mode)
ALLOWED = 0.001
"""Largest difference of an mIoU from that of PyTorch in fp32."""


@pytest.fixture(scope="module", autouse=True)
def _fp32_is_fp32() -> Iterator[None]:
    """By default PyTorch rounds convolutions to TensorFloat-32; ``infer onnxruntime`` does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cudnn, "allow_tf32", False)
        yield


@pytest.fixture(scope="module")
def expected(gpu: object, demo: Demo, gpu_report: Report) -> dict[str, float]:
    """PyTorch's mIoU in fp32, by mode."""
    if not torch.cuda.is_available():
        pytest.skip(f"PyTorch {torch.__version__} finds no CUDA device")
    return {mode: score(demo, of_pytorch(demo, mode, "fp32", DEVICE), gpu_report) for mode in MODES}


def onnxruntime_skip_reason(engines: Engines) -> str:
    """Why ONNX Runtime does not run on the GPU; empty: it does."""
    try:
        with engines.demo.session.open(engines.demo.onnx("whole"), backend="onnxruntime", device=DEVICE):
            return ""
    except DeviceError as error:
        engines.report.note(str(error))
        return str(error)


def assert_close_and_scored(engines: Engines, contender: Contender, expected: float) -> None:
    comparison = check(engines.demo, contender, engines.report)
    assert comparison.passed, comparison.failures
    assert comparison.logits_compared
    assert score(engines.demo, contender, engines.report) == pytest.approx(expected, abs=ALLOWED)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("flavor", FLAVORS)
def test_tensorrt(
    engines: Engines, expected: dict[str, float], flavor: Flavor, precision: Precision, mode: Mode
) -> None:
    assert_close_and_scored(engines, engines.get(flavor, precision, mode), expected[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnxruntime(engines: Engines, expected: dict[str, float], precision: Precision, mode: Mode) -> None:
    if reason := onnxruntime_skip_reason(engines):
        pytest.skip(reason)
    assert_close_and_scored(engines, of_onnxruntime(engines.demo, mode, precision, DEVICE), expected[mode])


@pytest.mark.parametrize("mode", MODES)
def test_pytorch_in_half_precision(engines: Engines, expected: dict[str, float], mode: Mode) -> None:
    contender = of_pytorch(engines.demo, mode, "fp16", DEVICE)
    assert score(engines.demo, contender, engines.report) == pytest.approx(expected[mode], abs=ALLOWED)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.usefixtures("expected")
def test_latency(engines: Engines, precision: Precision, mode: Mode) -> None:
    """Time everything that runs here side by side. The tests above say what does not run."""
    contenders = [of_pytorch(engines.demo, mode, precision, DEVICE)]
    if not onnxruntime_skip_reason(engines):
        contenders.append(of_onnxruntime(engines.demo, mode, precision, DEVICE))
    flavors = [flavor for flavor in FLAVORS if not engines.skip_reason(flavor)]
    contenders += [engines.get(flavor, precision, mode) for flavor in flavors]
    time_all(engines.demo, contenders, engines.report)
    timed = {row.key for row in engines.report.rows if row.milliseconds}
    assert {contender.row().key for contender in contenders} <= timed
