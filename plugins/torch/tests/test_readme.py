"""The worked example: a network that returns a dict, a tuple, scores of a quarter of the size."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from segplug import Segplug
from segplug.cli.root import run_command_line

README = Path(__file__).resolve().parents[1] / "README.md"
COMMANDS = [
    line for line in README.read_text().splitlines() if line.startswith("segplug export onnx python:many")
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_worked_example_runs(tmp_path, monkeypatch, command):
    pytest.importorskip("segplug_onnx")
    code = re.search(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "many.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    assert run_command_line([*shlex.split(command)[1:], "--output-kind", "logits"]) == 0
    (written,) = tmp_path.glob("*.onnx")
    with Segplug().open(written) as engine:
        assert engine.spec.meta.output_stride == 4
        assert engine.run(np.zeros((2, 3, 37, 53), np.float32)).shape == (2, 3, 10, 14)


def test_there_are_three_commands():
    assert len(COMMANDS) == 3
