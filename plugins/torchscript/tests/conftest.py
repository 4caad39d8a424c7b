"""Tiny real networks, and files exported from them once for a whole test run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torchscript_support.networks import SUFFIXES, make_model

from segplug import Segplug
from segplug.model import SegmentationModel
from segplug.progress import Reporter
from segplug.results import Artifact

Export = Callable[..., Artifact]


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Export a model to a target. Keywords are those of ``Segplug.export``."""

    def run(
        target: str,
        model: SegmentationModel,
        output: Path | None = None,
        reporter: Reporter | None = None,
        **given: Any,
    ) -> Artifact:
        output = output or tmp_path_factory.mktemp("export") / f"model{SUFFIXES[target]}"
        return Segplug(reporter=reporter).export(target, model, output=output, **given)

    return run


@pytest.fixture(scope="session")
def tiny() -> SegmentationModel:
    return make_model()


@pytest.fixture(scope="session", params=["torchscript", "torch-export"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def fixed(export: Export, tiny: SegmentationModel, target: str) -> Artifact:
    return export(target, tiny)


@pytest.fixture(scope="session")
def dynamic(export: Export, tiny: SegmentationModel, target: str) -> Artifact:
    return export(target, tiny, dynamic=True)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
