"""The executor ``local``: a run is resumed only for the same network with the same settings."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from segplug import ModelMeta, SegmentationModel, Segplug
from segplug.preprocessing import Normalize
from segplug.runtime.journal import state_folder
from segplug.testing import ArrayDataset

META = ModelMeta(name="m", classes=("a", "b"), out_channels=2)
CENTRED = Normalize((1.0,) * 3, (1.0,) * 3)

NET = """
    from dataclasses import dataclass
    import numpy as np
    from segplug import Backend, EngineSpec, ModelMeta, hookimpl, option
    from segplug.options import NoOptions
    from segplug.testing import FunctionEngine

    stop_after = 1000

    @dataclass(frozen=True)
    class Options:
        token: str = option("", help="A token.")
        timeout: float = option(1.0, help="Seconds.")
        fast: bool = option(False, help="Fast.")

    def engine_of(meta):
        def network(batch):
            if len(engine.shapes) > stop_after:
                raise KeyboardInterrupt
            return np.zeros((len(batch), 2, *batch.shape[2:]), np.float32)
        engine = FunctionEngine(EngineSpec(meta, "logits", backend="net"), network)
        return engine

    class Net(Backend[Options]):
        hook_version = 2
        options = Options
        takes = "model"

        @hookimpl
        def infer(self, request):
            return engine_of(request.loaded.meta)

    class Opens(Backend[NoOptions]):
        hook_version = 2
        reads = ("netfile",)

        @hookimpl
        def infer(self, request):
            return engine_of(ModelMeta(name="m", classes=("a", "b"), out_channels=2))

    net, opens = Net(), Opens()
"""


@pytest.fixture(autouse=True)
def _installed(install_plugin, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    entries = {"segplug.infer": {"net": "net_mod:net", "netfile": "net_mod:opens"}}
    install_plugin("net", entries, net_mod=NET)


def model(module: nn.Module, meta: ModelMeta = META) -> SegmentationModel:
    return SegmentationModel(module=module, meta=meta, exportable=lambda: module)


def network(seed: int, dilation: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 2, 3, dilation=dilation), nn.BatchNorm2d(2))


def evaluate(what: Any, *, backend: str = "net", **settings: Any) -> int:
    """Run on ten images; returns how many of them an interrupted run had finished."""
    dataset = ArrayDataset([np.zeros((8, 8, 3), np.uint8)] * 10)
    return Segplug().evaluate(what, backend=backend, dataset=dataset, metrics=(), **settings).resumed


def interrupt(what: Any, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Segplug().registry.provider("infer", settings.get("backend", "net"))  # its module is imported now
        patch.setattr(sys.modules["net_mod"], "stop_after", 6)
        evaluate(what, **settings)
    assert list(state_folder().iterdir()), "there is a journal"


def test_the_same_network_goes_on(monkeypatch) -> None:
    interrupt(model(network(0)), monkeypatch)
    assert evaluate(model(network(0)), resume=True) > 0


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(model(network(1)), id="other weights"),
        pytest.param(model(network(0, dilation=2)), id="another setting, without weights"),
        pytest.param(
            model(network(0), META.replace(preprocessing=(CENTRED,))),
            id="other metadata",
        ),
    ],
)
def test_another_network_begins_anew(other: SegmentationModel, monkeypatch) -> None:
    interrupt(model(network(0)), monkeypatch)
    assert evaluate(other, resume=True) == 0


def test_every_kind_of_weights_counts(monkeypatch) -> None:
    module = network(0).to(torch.bfloat16)
    module.register_buffer("scalar", torch.tensor(1))
    module.register_buffer("empty", torch.empty(0))
    interrupt(model(module), monkeypatch)
    module.scalar += 1
    assert evaluate(model(module), resume=True) == 0


def test_an_artifact_is_known_by_its_content(tmp_path, monkeypatch) -> None:
    file = tmp_path / "m.netfile"
    file.write_bytes(b"weights")
    interrupt(file, monkeypatch, backend="netfile")
    moved = file.rename(tmp_path / "n.netfile")
    assert evaluate(moved, backend="netfile", resume=True) > 0
    interrupt(moved, monkeypatch, backend="netfile")
    moved.write_bytes(b"other weights")
    assert evaluate(moved, backend="netfile", resume=True) == 0


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [({"token": "new", "timeout": 9.0}, True), ({"fast": True}, False), ({"device": "cuda:1"}, False)],
)
def test_settings_that_change_results_count(change: dict[str, Any], goes_on: bool, monkeypatch) -> None:
    interrupt(model(network(0)), monkeypatch, token="old")
    assert (evaluate(model(network(0)), resume=True, **{"token": "old", **change}) > 0) is goes_on
