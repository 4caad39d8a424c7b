"""Wrong command lines: the error is one line, and no server starts. What an add-on sees of the command."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
from serve_support.servers import Running

from segplug.cli.root import run_command_line


def _fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = run_command_line(["serve", *map(str, arguments)])
    error = capsys.readouterr().err.splitlines()
    assert [line for line in error if line.startswith("error: ")] == error[-1:], error
    return code, error[-1]


def test_a_port_in_use_is_reported_before_the_model_is_opened(capsys, project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = _fails(capsys, project.artifact(".onnx"), "--port", port)
    assert code == 2
    assert str(port) in error
    assert "--port" in error


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nothing.onnx"], 2, "there is no file nothing.onnx"),
        (["damaged.onnx"], 1, "damaged.onnx"),
        (["other.txt"], 2, "no installed backend opens other.txt"),
        (["tiny.onnx", "--backend", "nope"], 2, "no target 'nope'"),
        (["tiny.onnx", "--checkpoint", "x.pth"], 2, "--checkpoint is for a config"),
        (["tiny.onnx", "--cfg-options", "a=1"], 2, "--cfg-options is for a config"),
        (["tiny.onnx", "--name", "a/b"], 2, "--name 'a/b'"),
        (["tiny.onnx", "--host", "192.0.2.1"], 2, "192.0.2.1"),
        (["tiny.onnx", "--token-file", "none"], 2, "--token-file none"),
        (["tiny.onnx", "--token-file", "empty"], 2, "contains no token"),
        (["tiny.onnx", "--backend-options", "nope=1"], 2, "nope"),
        (["tiny.onnx", "--device", "cuda:77"], 1, "cuda:77"),
        (["tiny.py", "--backend", "http"], 2, "http"),
        (["tiny.onnx", "--backend", "http"], 2, "http"),
    ],
)
def test_mistakes_are_one_line(capsys, monkeypatch, tmp_path, project, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    for name in ("tiny.onnx", "tiny.py"):
        (tmp_path / name).symlink_to(project.folder / name)
    (tmp_path / "damaged.onnx").write_bytes(project.artifact(".onnx").read_bytes()[:1000])
    (tmp_path / "other.txt").write_text("x")
    (tmp_path / "empty").write_text("\n")
    assert (found := _fails(capsys, *arguments, "--port", 0)) == (code, found[1])
    assert said in found[1]


WATCH = '''
import json, os
from segplug import hookimpl
from segplug.providers import AddOn

def say(**said):
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps(said) + "\\n")

class Watch(AddOn):
    """Writes down what is called."""

    hook_versions = {"command": 2, "infer": 2}

    @hookimpl(wrapper=True)
    def command(self, request):
        say(target=request.call.target, id=request.call.id, port=request.parameters["port"])
        code = yield
        say(target=request.call.target, id=request.call.id, code=code)
        return code

    @hookimpl(wrapper=True)
    def infer(self, request):
        say(target=request.call.target, parent=request.call.parent)
        return (yield)

addon = Watch()
'''


@pytest.mark.server
def test_an_add_on_sees_the_command_and_the_calls_that_it_makes(started, project, install_plugin, tmp_path):
    site = install_plugin("watch", {"segplug.addon": {"watch": "watch:addon"}}, watch=WATCH)
    seen = tmp_path / "seen"
    server: Running = started(project.artifact(".onnx"), PYTHONPATH=str(site), SEEN=str(seen))
    server.stop()
    begun, opened, ended = map(json.loads, seen.read_text().splitlines())
    assert (begun["target"], begun["port"]) == ("serve", 0)
    assert opened == {"target": "onnxruntime", "parent": begun["id"]}
    assert ended == {"target": "serve", "id": begun["id"], "code": 0}


NPU = """
from segplug import EngineSpec, ModelMeta, hookimpl
from segplug.errors import DeviceError
from segplug.options import NoOptions
from segplug.providers import Backend
from segplug.testing import FunctionEngine

class Npu(Backend[NoOptions]):
    '''Runs nothing, on an NPU.'''

    hook_version = 2
    default_device = "npu:0"

    @hookimpl
    def infer(self, request):
        if request.device != "npu:0":
            raise DeviceError(f"there is no NPU {request.device}")
        meta = ModelMeta(name="m", classes=("a", "b"), out_channels=2)
        spec = EngineSpec(meta=meta, output="labels", backend=f"acme ({request.device})")
        return FunctionEngine(spec, None)

provider = Npu()
"""


@pytest.mark.server
def test_a_model_is_served_on_the_device_of_its_backend(started, install_plugin, tmp_path, capsys):
    site = install_plugin("acme", {"segplug.infer": {"acme": "acme_npu:provider"}}, acme_npu=NPU)
    artifact = tmp_path / "m.acme"
    artifact.write_text("x")
    server: Running = started(artifact, PYTHONPATH=str(site))
    assert server.backend == "acme (npu:0)"
    server.stop()
    code, error = _fails(capsys, artifact, "--device", "cpu", "--port", 0)
    assert (code, error) == (1, "error: there is no NPU cpu")


def test_the_command_and_the_provider_import_nothing_heavy():
    heavy = "{'torch', 'numpy', 'cv2', 'starlette', 'uvicorn', 'prometheus_client'}"
    code = (
        "import sys, segplug_serve.command, segplug_serve.engine; "
        f"found = {heavy} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
