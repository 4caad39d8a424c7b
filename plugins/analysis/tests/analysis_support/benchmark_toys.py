"""A backend and a source for the tests of ``analyze benchmark``. Both log their requests."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from segplug.api import Segplug
from segplug.testing.fixtures import Install

TOY = """
import json, os, signal, sys, time
from types import SimpleNamespace
from dataclasses import dataclass
from pathlib import Path
from segplug import Axis, EngineSpec, ModelMeta, SegmentationModel, hookimpl, option
from segplug.errors import DeviceError, RefusedError, ShapeError
from segplug.providers import AddOn, Backend, Confidence, ModelSource


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
        meta = ModelMeta(
            name="toy",
            in_channels=job.get("channels", 3),
            tta=((),) * job.get("views", 0),
            approximations=tuple(job.get("approximations", ())),
            input_size=job.get("nominal"),
            out_channels=2,
        )
        self.spec = EngineSpec(meta=meta, output=job.get("output", "logits"), backend="toy 1", **fixed)
        log(job, "opened", session=os.getsid(0), policy=os.environ.get("OMP_WAIT_POLICY"))
        asked = ("threads", "device", "trust_artifact", "allow_nonfinite")
        more = {name: getattr(request, name) for name in asked}
        log(job, "asked", wish=request.options.wish, **more)

    def run(self, batch):
        log(self.job, "run", shape=batch.shape, first=float(batch.flat[0]))
        print("a line of the library's own, on stdout")
        getattr(self, self.job.get("does", "nothing"))()
        return batch[:, :2] * (float("nan") if hasattr(self, "bad") else 1)

    def overflows(self):
        self.bad = True

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


class Toy(Backend[Options]):
    hook_version = 2
    options = Options

    @hookimpl
    def infer(self, request):
        job = json.loads(request.artifact.read_text())
        if "warns" in job:
            request.reporter.warn(job["warns"])
        return Engine(job, request)


class Npu(Toy):
    default_device = "npu:0"

    @hookimpl
    def infer(self, request):
        if request.device != "npu:0":
            raise DeviceError(f"there is no NPU {request.device}")
        return super().infer(request)


class Source(ModelSource[Options]):
    hook_version = 2
    options = Options

    def __init__(self, name):
        self.name = name

    def accepts(self, location):
        return Confidence.LIKELY if location.endswith(".toyconfig") else Confidence.NO

    @hookimpl
    def load_model(self, request):
        job = json.loads(Path(request.config).read_text())
        asked = ("config", "checkpoint", "cfg_options", "device", "trust_checkpoint")
        more = {name: getattr(request, name) for name in asked}
        log(job, "loaded", source=self.name, wish=request.options.wish, **more)
        meta = ModelMeta(name=json.dumps(job), input_size=job["nominal"])
        return SegmentationModel(module=SimpleNamespace(state_dict=dict), meta=meta, exportable=None)


class ModelToy(Toy):
    takes = "model"

    @hookimpl
    def infer(self, request):
        return Engine(json.loads(request.model.meta.name), request)


@dataclass(frozen=True)
class RuleOptions:
    allow: bool = option(False, help="Allow toys.")


class Rule(AddOn[RuleOptions]):
    hook_versions = {"infer": 2}
    options = RuleOptions

    @hookimpl(wrapper=True)
    def infer(self, request):
        if not self.settings(request).allow:
            raise RefusedError("no toys are allowed")
        return (yield)


provider = Toy()
npu = Npu()
model_provider = ModelToy()
rule = Rule()
source, twin = Source("toy"), Source("twin")
"""

POINTS = {
    "segplug.infer": {
        "toy": "toy_plugin:provider",
        "toy-model": "toy_plugin:model_provider",
        "npu": "toy_plugin:npu",
    },
    "segplug.load_model": {"toy": "toy_plugin:source", "twin": "toy_plugin:twin"},
}
RULE = {"segplug.addon": {"no-toys": "toy_plugin:rule"}}


def install_toys(install_plugin: Install, folder: Path, *, rule: bool = False) -> Toys:
    """Install the toy plugin, and its add-on if wanted, for this process and those that it starts."""
    install_plugin("toy", {**POINTS, **(RULE if rule else {})}, toy_plugin=TOY)
    return Toys(folder)


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
