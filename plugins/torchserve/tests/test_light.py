"""Providers import no heavy library, and name the package to install if one is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution

import pytest

ENTRIES = [
    point for point in distribution("segplug-torchserve").entry_points if point.group.startswith("segplug.")
]
assert ENTRIES, "segplug-torchserve is not installed"
HEAVY = "{'torch', 'numpy', 'cv2', 'onnx', 'onnxruntime', 'ts', 'model_archiver', 'yaml'}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.group}-{entry.name}")
def test_a_provider_imports_no_library(entry):
    code = f"import sys, {entry.module}; found = {HEAVY} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_missing_archiver_is_one_line_with_the_command(onnx_file, tmp_path):
    code = (
        "import sys; sys.modules['model_archiver'] = None; from segplug.cli.root import run_command_line; "
        "sys.exit(run_command_line(sys.argv[1:]))"
    )
    words = ["run", "export", "torchserve", str(onnx_file), "--output-folder", "store"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "pip install torch-model-archiver" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []
