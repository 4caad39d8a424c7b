"""Every provider imports fast, and names the command that installs a missing library."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution

import pytest

ENTRIES = [
    point for point in distribution("segplug-analysis").entry_points if point.group.startswith("segplug.")
]
assert ENTRIES

HEAVY = "{'torch', 'numpy', 'matplotlib', 'seaborn', 'pandas', 'onnx', 'onnxruntime', 'ptflops', 'cv2'}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_provider_imports_no_library(entry):
    code = f"import sys, {entry.module}; found = {HEAVY} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("missing", "arguments", "command"),
    [
        ("onnx", ["analyze", "flops", "m.onnx"], "pip install 'segplug-analysis[onnx]'"),
        ("ptflops", ["analyze", "flops", "c.py"], "pip install 'segplug-analysis[models]'"),
        ("torch", ["convert_weights", "publish", "w.pth", "out.pth"], "pip install torch"),
    ],
)
def test_a_missing_library_is_one_line_with_the_command(tmp_path, missing, arguments, command):
    for name in ("m.onnx", "c.py", "w.pth"):
        (tmp_path / name).write_text("x = 1\n")
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from segplug.cli.root import run_command_line; "
        f"sys.exit(run_command_line({['run', *arguments]!r}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert command in ended.stderr
    assert "Traceback" not in ended.stderr
