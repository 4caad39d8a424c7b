"""A tiny network as an ONNX file with segplug metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tensorrt_support.tiny import tiny

from segplug.model import InputLimits

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write the tiny network, or another one."""

    def write(model: onnx.ModelProto | None = None, name: str = "tiny.onnx", **given: object) -> Path:
        path = tmp_path / name
        onnx.save(model or tiny(**given), path)  # type: ignore[arg-type]
        return path

    return write


@pytest.fixture
def limits() -> InputLimits:
    return InputLimits(minimum=(16, 16), multiple_of=16)
