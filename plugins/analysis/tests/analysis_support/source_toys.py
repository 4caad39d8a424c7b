"""A source with an option of its own, for the tests of ``--source-options``. It logs what it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segplug.testing.fixtures import Install

TOY = """
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from segplug import ModelMeta, SegmentationModel, hookimpl, option
from segplug.errors import ModelError
from segplug.preprocessing import Decoding, Flip, usual_steps
from segplug.providers import Confidence, ModelSource

LOG = Path(__file__).with_name("log.jsonl")


@dataclass(frozen=True)
class Options:
    bias: float = option(0.0, help="What the network adds to the logits of class 1.")
    weight: float = option(0.0, help="The weight of every channel in the logits of class 1.")
    channels: int = option(3, help="Channels of the images.")
    stride: int = option(1, help="The stride of the logits.")
    blurs: bool = option(False, help="Whether the pipeline has a step that cannot be expressed.")


def log(method, request):
    with open(LOG, "a") as file:
        entry = {"method": method, "bias": request.options.bias, "cfg_options": dict(request.cfg_options)}
        file.write(json.dumps(entry) + "\\n")


class Source(ModelSource[Options]):
    hook_version = 2
    options = Options

    def accepts(self, location):
        return Confidence.LIKELY if location.endswith(".toysource") else Confidence.NO

    @hookimpl
    def load_model(self, request):
        log("load_model", request)
        options, channels = request.options, request.options.channels
        if options.blurs and not request.approximate:
            raise ModelError("the step Blur cannot be expressed", hint="--approximate leaves it out")
        network = torch.nn.Conv2d(channels, 2, 1, stride=options.stride).requires_grad_(False).eval()
        network.weight.zero_()
        network.weight[1] = options.weight
        network.bias.copy_(torch.tensor([0.0, options.bias]))
        steps = usual_steps([100.0] * channels, [50.0] * channels)
        meta = ModelMeta(
            name="toy",
            classes=("first", "second"),
            in_channels=channels,
            decoding=Decoding.for_channels(channels),
            preprocessing=steps,
            tta=(steps, (*steps, Flip())),
            approximations=("the step Blur is left out",) if options.blurs else (),
            out_channels=2,
            output_stride=options.stride,
            input_size=(8, 16),
        )
        return SegmentationModel(module=network, meta=meta, exportable=lambda: network)

    def config_text(self, request):
        log("config_text", request)
        return "a config\\n"


source = Source()
"""


class Asked:
    """The installed source: a config that it reads, and the log of what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "net.toysource"
        self.checkpoint = folder / "weights.pth"
        for path in (self.config, self.checkpoint):
            path.write_text("toy\n")
        self._log = folder / "log.jsonl"

    def log(self) -> list[dict[str, Any]]:
        """What the source was asked since the last call."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


@pytest.fixture(name="asked")
def asked_fixture(install_plugin: Install) -> Asked:
    return Asked(
        install_plugin("toy_source", {"segplug.load_model": {"toy": "toy_source:source"}}, toy_source=TOY)
    )
