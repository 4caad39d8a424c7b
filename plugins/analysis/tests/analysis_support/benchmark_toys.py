"""A backend and a source for the tests of ``analyze benchmark``. Both log their requests."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from segplug.api import Segplug
from segplug.registry import discovery

TOY = """
import json, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from segplug import Axis, EngineSpec, ModelMeta, SegmentationModel, hookimpl, option
from segplug.errors import RefusedError, ShapeError


@dataclass(frozen=True)
class Options:
    wish: str | None = option(None, help="Kept in the log.")


def log(job, event, **more):
    entry = {"event": event, "name": job["name"], "pid": os.getpid(), **more}
    with open(job["log"], "a") as file:
        file.write(json.dumps(entry) + "\\n")


class Engine:
    def __init__(self, job, request):
        self.job = job
        fixed = {}
        if "size" in job:
            fixed = dict(zip(("height", "width"), map(Axis.fixed, job["size"])))
        if "batch" in job:
            fixed["batch"] = Axis.fixed(job["batch"])
        meta = ModelMeta(name="toy", input_size=job.get("nominal"), out_channels=2)
        self.spec = EngineSpec(meta=meta, output=job.get("output", "logits"), backend="toy 1", **fixed)
        log(job, "opened", session=os.getsid(0), policy=os.environ.get("OMP_WAIT_POLICY"))
        log(job, "asked", threads=request.threads, device=request.device, wish=request.options.wish)

    def run(self, batch):
        log(self.job, "run", shape=batch.shape, first=float(batch.flat[0]))
        print("a line of the library's own, on stdout")
        getattr(self, self.job.get("does", "nothing"))()
        return batch[:, :2]

    def nothing(self):
        pass

    def refuses(self):
        raise ShapeError("the toy does not take this", hint="take another")

    def stumbles(self):
        raise ValueError("a bug of the toy")

    def dies(self):
        print("the accelerator melted", file=sys.stderr)
        os._exit(3)

    def is_killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def naps(self):
        time.sleep(0.1)

    def hangs(self):
        time.sleep(60)

    def close(self):
        log(self.job, "closed")


class Toy:
    api_version = 1
    options = Options
    takes = "artifact"

    @hookimpl
    def infer(self, request):
        job = json.loads(request.artifact.read_text())
        if "warns" in job:
            request.reporter.warn(job["warns"])
        return Engine(job, request)


class Source:
    api_version = 1

    def __init__(self, name):
        self.name = name

    def accepts(self, location):
        return location.endswith(".toyconfig")

    @hookimpl
    def load_model(self, request):
        job = json.loads(Path(request.config).read_text())
        asked = ("config", "checkpoint", "cfg_options", "device", "trust_checkpoint")
        log(job, "loaded", source=self.name, **{name: getattr(request, name) for name in asked})
        meta = ModelMeta(name=json.dumps(job), input_size=job["nominal"])
        return SegmentationModel(module=None, meta=meta, exportable=None)


class ModelToy(Toy):
    takes = "model"

    @hookimpl
    def infer(self, request):
        return Engine(json.loads(request.model.meta.name), request)


class Rule:
    api_version = 1

    @hookimpl(wrapper=True)
    def infer(self, request):
        raise RefusedError("no toys are allowed")
        yield


provider = Toy()
model_provider = ModelToy()
rule = Rule()
source, twin = Source("toy"), Source("twin")
"""

POINTS = """
[segplug.infer]
toy = toy_plugin:provider
toy-model = toy_plugin:model_provider
[segplug.load_model]
toy = toy_plugin:source
twin = toy_plugin:twin
"""

RULE = """
[segplug.addon]
no-toys = toy_plugin:rule
"""


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, *, rule: bool = False) -> Iterator[Toys]:
    """Install the toy plugin, and its add-on if wanted, for this process and those that it starts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    site = folder / "site"
    info = site / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    site.joinpath("toy_plugin.py").write_text(TOY)
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text(POINTS + (RULE if rule else ""))
    monkeypatch.syspath_prepend(str(site))
    discovery.forget()
    try:
        yield Toys(folder)
    finally:
        sys.modules.pop("toy_plugin", None)
        discovery.forget()


class Toys:
    """Files that the toy backend opens, and the log of its engines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_file = folder / "log.jsonl"

    def make(self, name: str, suffix: str = ".toy", **job: Any) -> str:
        path = self.folder / f"{name}{suffix}"
        job = {"name": name, "log": str(self.log_file), "nominal": [8, 16], **job}
        path.write_text(json.dumps(job))
        return str(path)

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def are_gone(self, *, within: float = 10) -> bool:
        """Whether every process that opened an engine has ended; waits for that up to ``within`` seconds."""
        pids = {entry["pid"] for entry in self.log("opened")}
        assert pids
        deadline = time.monotonic() + within
        while any(_runs(pid) for pid in pids):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def benchmark(*subjects: str, session: Segplug | None = None, **options: Any) -> Any:
    return (session or Segplug()).analyze("benchmark", *subjects, **{"runs": 4, "warmup": 0, **options})
