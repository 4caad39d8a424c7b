"""What a TorchScript file or a program says of itself, without running it."""

from __future__ import annotations

from pathlib import Path

import torch
from segplug_torchscript.export_program import provider as program
from segplug_torchscript.export_torchscript import provider as torchscript

from segplug.results import Artifact

PROVIDERS = {"torchscript": torchscript, "torch-export": program}
WHAT = {"torchscript": "TorchScript file", "torch-export": "torch.export program"}


def test_a_file_of_segplug(fixed: Artifact, target: str) -> None:
    found = PROVIDERS[target].describe(fixed.path)
    assert found is not None
    assert found.what == WHAT[target]
    height, width = fixed.meta.input_size or ()
    assert [one.shape for one in found.inputs] == [f"1 x {fixed.meta.in_channels} x {height} x {width}"]
    stride = fixed.meta.output_stride
    assert [one.shape for one in found.outputs] == [
        f"1 x {fixed.meta.out_channels} x {-(-height // stride)} x {-(-width // stride)}"
    ]
    assert found.details["bytes of weights"] > 0
    others = [provider for name, provider in PROVIDERS.items() if name != target]
    assert [provider.describe(fixed.path) for provider in others] == [None]


def test_a_file_of_another_tool_and_weights_alone(tmp_path: Path) -> None:
    foreign, weights = tmp_path / "foreign.pt", tmp_path / "weights.pt"
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), foreign)
    found = torchscript.describe(foreign)
    assert found is not None
    assert "segplug did not write this file" in found.notes[0]
    torch.save({"a": torch.zeros(2)}, weights)
    assert torchscript.describe(weights) is None
