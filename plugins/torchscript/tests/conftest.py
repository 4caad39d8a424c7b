"""Tiny real networks, and files exported from them once for a whole test run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from segplug_torchscript import export_program, export_torchscript
from torchscript_support.networks import SUFFIXES, make_model

from segplug import Segplug
from segplug.model import SegmentationModel
from segplug.requests import ExportRequest
from segplug.results import Artifact

Export = Callable[..., Artifact]

_EXPORTERS = {"torchscript": export_torchscript, "torch-export": export_program}


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Export a model to a target; options of the exporter and fields of the request are keywords."""

    def run(target: str, model: SegmentationModel, output: Path | None = None, **given: Any) -> Artifact:
        module = _EXPORTERS[target]
        options = module.Options(
            **{key: given.pop(key) for key in tuple(given) if hasattr(module.Options, key)}
        )
        output = output or tmp_path_factory.mktemp("export") / f"model{SUFFIXES[target]}"
        return module.provider.export(
            ExportRequest(model=model, output=output, options=options, session=Segplug(), **given)
        )

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
