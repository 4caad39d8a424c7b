"""Made-up plugins for the tests of the registry: the sources of their modules, and their manifests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from segplug.registry import discovery

IMPORTS = """
from dataclasses import dataclass, replace
from segplug import hookimpl, option
from segplug.errors import RefusedError, UsageError
from segplug.options import NoOptions
from segplug.providers import (
    AddOn, Backend, Confidence, DatasetSource, EngineBuilder, Exporter, ModelSource, Packer, Report,
)
from segplug.results import AnalyzeReport
"""

COUNT = (
    IMPORTS
    + """
class Count(Report[NoOptions]):
    '''Counts its subjects.'''
    hook_version = 2

    @hookimpl
    def analyze(self, request):
        return AnalyzeReport(title="count", data={"subjects": len(request.subjects)})

provider = Count()
"""
)
"""A report."""

COUNT_GROUPS = {"segplug.analyze": {"count": "acme:provider"}}

POLICY = (
    IMPORTS
    + """
class Policy(AddOn[NoOptions]):
    '''Refuses secret files.'''
    hook_versions = {"analyze": 2}

    @hookimpl(wrapper=True)
    def analyze(self, request):
        if "secret" in request.subjects:
            raise RefusedError("secret files are not analysed")
        report = yield
        return replace(report, title=report.title + ", seen by policy")

provider = Policy()
"""
)
"""An add-on."""

POLICY_GROUPS = {"segplug.addon": {"policy": "rules:provider"}}
RULE_GROUPS = {"segplug.addon": {"rule": "rules:provider"}}

TOYS = (
    IMPORTS
    + """
import numpy as np
from segplug.engine import EngineSpec
from segplug.model import ModelMeta, Provenance, SegmentationModel
from segplug.preprocessing import usual_steps
from segplug.testing.engines import FunctionEngine

META = ModelMeta(
    name="toy",
    classes=("dark", "bright"),
    preprocessing=usual_steps((127.5,) * 3, (1.0,) * 3),
    input_size=(8, 8),
    out_channels=2,
    provenance=Provenance(config="toy:net"),
)

def logits(batch):
    light = batch.mean(axis=1)
    return np.stack([-light, light], axis=1).astype(np.float32)

class NoWeights:
    def state_dict(self):
        return {}

class Source(ModelSource[NoOptions]):
    '''Loads toy models.'''
    hook_version = 2

    def accepts(self, location):
        return Confidence.SURE if location.startswith("toy:") else Confidence.NO

    @hookimpl
    def load_model(self, request):
        net = network() if request.config == "toy:torch" else NoWeights()
        return SegmentationModel(net, META, exportable=lambda: net)

def network():
    import torch

    class Net(torch.nn.Module):
        def forward(self, batch):
            light = batch.mean(dim=1)
            return torch.stack([-light, light], dim=1)

    return Net().eval()

class Saver(Exporter[NoOptions]):
    '''Saves toy models.'''
    hook_version = 2
    verify_with = "toy"

    @hookimpl
    def export(self, request):
        request.output.write_text("toy")
        self.write_meta(request.output, request.model.meta)
        return request.made(request.model.meta)

class Compiler(EngineBuilder[NoOptions]):
    '''Compiles toy files.'''
    hook_version = 2
    reads = ("toy",)
    verify_with = "fast-toy"

    @hookimpl
    def build_engine(self, request):
        request.output.write_bytes(request.file.read_bytes())
        meta = request.session.read_meta(request.file)
        self.write_meta(request.output, meta)
        return request.made(meta)

class Box(Packer[NoOptions]):
    '''Packs toy files and models.'''
    hook_version = 2
    takes = "either"

    @hookimpl
    def export(self, request):
        folder = request.output / "box"
        folder.mkdir()
        (folder / "what").write_text(request.location)
        return request.made(folder, META)

class Engine(Backend[NoOptions]):
    '''Opens toy files.'''
    hook_version = 2

    @hookimpl
    def infer(self, request):
        return FunctionEngine(EngineSpec(meta=META, output="logits"), logits)

class Server(Engine):
    '''Reaches toy servers.'''
    takes = "url"

source, saver, compiler, box = Source(), Saver(), Compiler(), Box()
engine, server = Engine(), Server()
"""
)
"""A source (only its ``toy:torch`` is a network that runs), a maker of each kind, and backends."""

TOY_GROUPS = {
    "segplug.load_model": {"toys": "toys:source"},
    "segplug.export": {"toy": "toys:saver", "toy-box": "toys:box"},
    "segplug.build_engine": {"fast-toy": "toys:compiler"},
    "segplug.infer": {"toy": "toys:engine", "fast-toy": "toys:engine", "toy-server": "toys:server"},
}


def seen() -> list[Any]:
    """What the add-on of the module ``rules`` has kept."""
    kept: list[Any] = sys.modules["rules"].SEEN
    return kept


def write_manifest(path: Path, distribution: str, *providers: dict[str, Any], **changes: Any) -> None:
    """Write a manifest by hand.

    Args:
        path: The file.
        distribution: Its distribution.
        *providers: The facts of each, with hook and target.
        **changes: Further or other members of the document.
    """
    document = {"manifest": 1, "distribution": distribution, "providers": list(providers), **changes}
    path.write_text(json.dumps(document))
    discovery.forget()


def edit_manifest(path: Path, **changes: Any) -> None:
    """Change facts of the first provider in a manifest; a value ``None`` removes one."""
    document = json.loads(path.read_text())
    facts = {**document["providers"][0], **changes}
    document["providers"][0] = {name: value for name, value in facts.items() if value is not None}
    path.write_text(json.dumps(document))
    discovery.forget()
