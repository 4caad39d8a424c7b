"""The names that the plugin uses exist in the real bindings of every supported TensorRT."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tensorrt_support import stub, used

Names = Mapping[str, Sequence[str]]

_HERE = Path(__file__).parent
_WHEELS = Path(sys.prefix) / "bindings"
_VERSIONS = [line.partition("==")[2] for line in (_HERE / "bindings.txt").read_text().split()]

# Runs in a process of its own, which can load one TensorRT only. A signature is the first line of pybind11's
# __doc__; with overloads, one of its numbered lines.
_PROBE = """
import functools, importlib, json, re, sys

asked = json.load(sys.stdin)
trt = importlib.import_module(asked["module"])
find = lambda path: functools.reduce(lambda at, name: getattr(at, name, None), path.split("."), trt)
missing = [
    f"{owner}.{name}" for owner, names in asked["used"].items() for name in names
    if not hasattr(find(owner), name)
]
for path, wanted in asked["arguments"].items():
    name = path.rpartition(".")[2]
    lines = (getattr(find(path), "__doc__", None) or "").splitlines()
    signatures = [line for line in lines if re.match(rf"(\\d+\\. )?{name}\\(", line)]
    found = [re.findall(r"[(,] *(\\w+):", line) for line in signatures]
    if not any([each for each in names if each != "self"][: len(wanted)] == wanted for names in found):
        missing.append(f"{path}({', '.join(wanted)}): {signatures}")
print(json.dumps({"version": trt.__version__, "missing": missing}))
"""


def _probe(module: str, names: Names, arguments: Names, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        input=json.dumps({"module": module, "used": names, "arguments": arguments}),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=_VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """A version, and the environment in which its bindings import."""
    if not _WHEELS.is_dir():
        pytest.skip(f"no {_WHEELS}: scripts/setup.sh fetches TensorRT's bindings into it")
    if tools := stub.missing_tools():
        pytest.skip(f"stubs of TensorRT's libraries need {' and '.join(tools)}")
    if sys.version_info[:2] != (3, 11) or (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the bindings fetched are for Python 3.11 on Linux x86-64")
    (wheel,) = _WHEELS.glob(f"*-{request.param}-*.whl")
    unpacked, libraries = tmp_path / "unpacked", tmp_path / "libraries"
    libraries.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    assert len(stub.make_stubs(unpacked / "tensorrt_bindings", libraries)) == 3
    return request.param, {"PYTHONPATH": str(unpacked), "LD_LIBRARY_PATH": str(libraries)}


def test_tensorrt_has_every_used_name(bindings: tuple[str, dict[str, str]]) -> None:
    version, environment = bindings
    answer = _probe("tensorrt_bindings", used.USED, used.ARGUMENTS, **environment)
    assert answer == {"version": version, "missing": []}


def test_tensorrt_rtx_has_every_used_name() -> None:
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("TensorRT-RTX is not installed: pip install 'segplug-tensorrt[rtx]'")
    assert _probe("tensorrt_rtx_bindings", used.USED, used.ARGUMENTS)["missing"] == []
    assert _probe("tensorrt_rtx_bindings", used.USED_RTX, used.ARGUMENTS_RTX)["missing"] == []


def test_a_missing_name_is_reported(bindings: tuple[str, dict[str, str]]) -> None:
    answer = _probe(
        "tensorrt_bindings", {"Builder": ["no_such"]}, {"Builder.create_network": ["no"]}, **bindings[1]
    )
    assert [each.partition(":")[0] for each in answer["missing"]] == [
        "Builder.no_such",
        "Builder.create_network(no)",
    ]
