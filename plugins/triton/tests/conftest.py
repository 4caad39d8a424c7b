"""Artifacts of a tiny network, exported once for a whole test run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from triton_support.models import tiny

from segplug import Segplug
from segplug.model import Inference, SegmentationModel
from segplug.results import Artifact


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """Export a model, the tiny one if none is given."""

    def run(target: str = "onnx", model: SegmentationModel | None = None, **given: Any) -> Artifact:
        suffix = {"onnx": ".onnx", "torchscript": ".pt", "torch-export": ".pt2"}[target]
        output = tmp_path_factory.mktemp("export") / f"tiny{suffix}"
        return Segplug().export(target, model or tiny(), output=output, **given)

    return run


@pytest.fixture(scope="session")
def dynamic_labels(export: Callable[..., Artifact]) -> Artifact:
    return export(dynamic=True)


@pytest.fixture(scope="session")
def static_logits(export: Callable[..., Artifact]) -> Artifact:
    return export(output_kind="logits")


@pytest.fixture(scope="session")
def slide(export: Callable[..., Artifact]) -> Artifact:
    window = Inference(mode="slide", crop_size=(24, 40), stride=(16, 30))
    return export(model=tiny(inference=window))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repository"
