"""Executors: a job runs in this process, or where the named executor runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import PluginError, RefusedError, UsageError
from segplug.testing import ArrayDataset

FARM = """
    from dataclasses import replace
    import numpy as np
    from segplug import AddOn, Backend, EngineSpec, ModelMeta, hookimpl, option
    from segplug.errors import RefusedError
    from segplug.options import NoOptions
    from segplug.providers import Executor
    from segplug.scores import RunReport
    from segplug.testing import FunctionEngine

    asked = []
    opened = []

    class Farm(Executor[NoOptions]):
        '''Runs jobs on a farm.'''
        hook_version = 2

        @hookimpl
        def run(self, request):
            asked.append(request)
            return RunReport(
                images=len(request.dataset), resumed=0, skipped=(), scores=None, seconds=2.0,
                engine_seconds=1.0, warnings=(),
            )

    class Wrong(Executor[NoOptions]):
        '''Returns something else.'''
        hook_version = 2

        @hookimpl
        def run(self, request):
            return "done"

    class Opens(Backend[NoOptions]):
        '''Opens things.'''
        hook_version = 2
        reads = ("thing",)
        default_device = "npu:0"

        @hookimpl
        def infer(self, request):
            opened.append(request)
            meta = ModelMeta(name="m", classes=("a", "b"), out_channels=2)
            def network(batch):
                return np.zeros((len(batch), 2, *batch.shape[2:]), np.float32)
            return FunctionEngine(EngineSpec(meta, "logits", backend="things"), network)

    class Audit(AddOn[NoOptions]):
        '''Sees runs.'''
        hook_versions = {"run": 2}

        @hookimpl(wrapper=True)
        def run(self, request):
            if request.batch_size > 4:
                raise RefusedError("batches of at most 4")
            report = yield
            return replace(report, warnings=(*report.warnings, f"audited {request.call.target}"))

    farm, wrong, opens, audit = Farm(), Wrong(), Opens(), Audit()
"""


@pytest.fixture
def farm(install_plugin):
    """The plugin's module, which records what it was asked."""
    entries = {
        "segplug.executor": {"farm": "farm_mod:farm", "wrong": "farm_mod:wrong"},
        "segplug.infer": {"thing": "farm_mod:opens"},
    }
    install_plugin("farm", entries, farm_mod=FARM)
    import farm_mod

    return farm_mod


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    path = tmp_path / "m.thing"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


DATASET = ArrayDataset([np.zeros((8, 8, 3), np.uint8)] * 3)


def test_a_job_runs_in_this_process_unless_another_executor_is_named(farm, thing) -> None:
    report = Segplug().evaluate(thing, backend="thing", dataset=DATASET, metrics=())
    assert (report.images, farm.asked, len(farm.opened)) == (3, [], 1)
    assert farm.opened[0].device == "npu:0"
    assert report.call is not None
    assert (report.call.hook, report.call.target, report.call.parent) == ("run", "local", None)
    assert farm.opened[0].call.parent == report.call.id


def test_the_named_executor_gets_the_whole_job(farm, thing) -> None:
    report = Segplug().evaluate(
        thing, backend="thing", dataset=DATASET, metrics=(), executor="farm", batch_size=2, threads=3
    )
    (request,) = farm.asked
    assert farm.opened == [], "the executor opens the engine where it runs"
    assert (report.images, report.call) == (3, request.call)
    assert (request.file, request.dataset, request.backend) == (thing, DATASET, "farm:thing")
    assert (request.device, request.batch_size, request.threads) == ("npu:0", 2, 3)
    assert (request.call.target, request.call.distribution) == ("farm", "farm")


def test_the_command_line_names_it(farm, thing, images, tmp_path, capsys) -> None:
    command = (
        "run",
        "infer",
        "thing",
        str(thing),
        "--dataset",
        str(images),
        "--show-dir",
        str(tmp_path / "p"),
    )
    assert run_command_line([*command, "--executor", "farm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    assert [type(sink).__name__ for sink in farm.asked[0].sinks] == ["PaintSink"]
    assert run_command_line([*command, "--json"]) == 0
    assert len(farm.asked) == 1
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("name", "said"), [("frm", "did you mean 'farm'"), ("gone", "there are: farm, local")]
)
def test_an_unknown_executor_is_an_error_before_any_work(farm, thing, tmp_path, capsys, name, said) -> None:
    with pytest.raises(UsageError, match=said):
        Segplug().evaluate(thing, backend="thing", dataset=tmp_path / "gone", executor=name)
    command = ("run", "infer", "thing", str(thing), "--dataset", str(tmp_path / "gone"), "--show-dir", "p")
    assert run_command_line([*command, "--executor", name]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert farm.opened == []


def test_an_executor_that_returns_no_report_is_named(farm, thing) -> None:
    with pytest.raises(PluginError, match=r"wrong.*returned str.*RunReport"):
        Segplug().evaluate(thing, backend="thing", dataset=DATASET, metrics=(), executor="wrong")


def test_an_add_on_sees_whole_runs(farm, thing, install_plugin) -> None:
    install_plugin("audit", {"segplug.addon": {"audit": "audit_mod:audit"}}, audit_mod=FARM)
    report = Segplug().evaluate(thing, backend="thing", dataset=DATASET, metrics=())
    assert report.warnings[-1] == "audited local"
    with pytest.raises(RefusedError, match="batches of at most 4"):
        Segplug().evaluate(thing, backend="thing", dataset=DATASET, metrics=(), batch_size=5)
    assert len(farm.opened) == 1, "refused before the engine was opened"
