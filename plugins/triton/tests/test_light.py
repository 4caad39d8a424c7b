"""The provider imports no heavy library, and names the package to install if one is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from triton_support.models import pack

from segplug import Segplug
from segplug.errors import MissingDependencyError

HEAVY = "{'torch', 'numpy', 'onnx', 'onnxruntime', 'tritonclient', 'grpc', 'google.protobuf', 'cv2'}"


def test_the_provider_imports_no_library():
    code = f"import sys, segplug_triton.provider; found = {HEAVY} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_missing_onnxruntime_is_an_error_of_one_line(dynamic_labels, repository):
    words = ["run", "export", "triton", str(dynamic_labels.path), "--output-folder", str(repository)]
    code = (
        "import sys; sys.modules['onnxruntime'] = None; from segplug.cli.root import run_command_line; "
        f"sys.exit(run_command_line({words!r}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "pip install 'segplug-triton[onnx]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_triton_client_is_an_error_of_one_line(dynamic_labels, repository):
    words = ["run", "export", "triton", str(dynamic_labels.path), "--output-folder", str(repository)]
    code = (
        "import sys; sys.modules['tritonclient'] = None; from segplug.cli.root import run_command_line; "
        f"sys.exit(run_command_line({words!r}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "pip install segplug-triton" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_onnx_files_need_their_plugin(dynamic_labels, repository, monkeypatch):
    installed = Segplug.targets
    monkeypatch.setattr(
        Segplug,
        "targets",
        lambda self, hook: [item for item in installed(self, hook) if item.target != "onnxruntime"],
    )
    with pytest.raises(MissingDependencyError, match=r"needs segplug-onnx .*segplug-triton\[onnx\]"):
        pack(dynamic_labels, repository)
    assert not repository.exists()


def test_onnx_files_need_neither_torch_nor_onnx(dynamic_labels, repository):
    words = ["run", "export", "triton", str(dynamic_labels.path), "--output-folder", str(repository)]
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None; "
        f"from segplug.cli.root import run_command_line; sys.exit(run_command_line({words!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (repository / "tiny" / "1" / "model.onnx").is_file()
