"""Every provider is cheap to import, and says what to install where PyTorch is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution

import cv2
import numpy as np
import pytest

ENTRIES = [
    point for point in distribution("segplug-torchscript").entry_points if point.group.startswith("segplug.")
]

HEAVY = "{'torch', 'numpy', 'cv2', 'mmcv', 'mmseg'}"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.group}-{entry.name}")
def test_a_provider_imports_no_library(entry):
    code = f"import sys, {entry.module}; found = {HEAVY} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_without_pytorch(fixed, tmp_path):
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((32, 48, 3), np.uint8))
    words = [
        "run",
        "infer",
        fixed.format,
        str(fixed.path),
        "--input-img",
        str(image),
        "--out",
        str(tmp_path / "o.npz"),
    ]
    code = (
        "import sys; sys.modules['torch'] = None; from segplug.cli.root import run_command_line; "
        f"sys.exit(run_command_line({words!r}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "pip install torch" in ended.stderr
    assert "Traceback" not in ended.stderr
