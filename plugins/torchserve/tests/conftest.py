"""Fixtures: the demo's network packed in three forms, one of other channels, and a TorchServe with all."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torchserve_support.bands import save_bands
from torchserve_support.local_server import LocalServer, run_torchserve
from torchserve_support.packing import demo_model

from segplug.api import Segplug
from segplug.model import SegmentationModel


@pytest.fixture(scope="session")
def model() -> SegmentationModel:
    return demo_model()


@pytest.fixture(scope="session")
def onnx_file(model: SegmentationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "demo.onnx"
    return Segplug().export("onnx", model, output=path, output_kind="logits").path


@pytest.fixture(scope="session")
def store(model: SegmentationModel, onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store: ``plain`` (config), ``onnx`` (batches of up to 8), ``script`` (TorchScript).

    ``bands`` has images of five bands.
    """
    folder, sp = tmp_path_factory.mktemp("store"), Segplug()
    script = folder.parent / "demo.pt"
    sp.export("torchscript", model, output=script)
    sp.pack("torchserve", model, folder=folder, model_name="plain", threads=1)
    batches = {"batch_size": 8, "max_batch_delay": 1000}
    limits = {"max_bytes": 2 << 20, "max_pixels": 2_000_000, "max_edge": 5000}
    sp.pack("torchserve", onnx_file, folder=folder, model_name="onnx", threads=1, **batches, **limits)
    sp.pack("torchserve", script, folder=folder, model_name="script", model_version="2.1", threads=1)
    sp.pack("torchserve", save_bands(folder.parent), folder=folder, model_name="bands", threads=1)
    return folder


@pytest.fixture(scope="session")
def server(store: Path) -> Iterator[LocalServer]:
    """A TorchServe with all models. It requires no tokens and allows models to be registered."""
    models = {name: f"{name}.mar" for name in ("plain", "onnx", "script", "bands")}
    with run_torchserve(store, models, model_api=True) as running:
        yield running


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """TorchServe's gRPC interface, compiled from the files in its jar."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    folder = tmp_path_factory.mktemp("grpc")
    ts = importlib.util.find_spec("ts")
    assert ts is not None
    jar = Path(str(ts.origin)).parent / "frontend" / "model-server.jar"
    with zipfile.ZipFile(jar) as file:
        for name in ("inference.proto", "management.proto", "google/rpc/status.proto"):
            file.extract(name, folder)
    well_known = Path(str(protoc.__file__)).parent / "_proto"
    files = ["inference.proto", "management.proto"]
    made = protoc.main(
        [
            "",
            f"-I{folder}",
            f"-I{well_known}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            *files,
        ]
    )
    assert made == 0
    sys.path.insert(0, str(folder))
    try:
        return SimpleNamespace(**{name: _module(name) for name in _STUBS})
    finally:
        sys.path.remove(str(folder))


_STUBS = ("inference_pb2", "inference_pb2_grpc", "management_pb2", "management_pb2_grpc")


def _module(name: str) -> Any:
    return importlib.import_module(name)
