"""docker/serve: checks without Docker, and its script started as the container starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from torchserve_support.calling import call
from torchserve_support.local_server import end_group, free_ports, java_environment
from torchserve_support.packing import ROOT, labels_of, mask_of, pictures, png_of
from torchserve_support.processes import session_of

FOLDER = ROOT / "docker" / "serve"
ENTRYPOINT = FOLDER / "entrypoint.sh"
HEALTHCHECK = [sys.executable, str(FOLDER / "healthcheck.py")]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows them, continued lines joined."""
    lines = [line for line in (FOLDER / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def properties() -> dict[str, str]:
    lines = (FOLDER / "config.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_image_does_not_run_as_root():
    users = [value for name, value in instructions() if name == "USER"]
    assert len(users) == 1
    assert users[0].isdigit()
    assert int(users[0]) > 0
    last = max(index for index, (name, _) in enumerate(instructions()) if name in ("RUN", "COPY"))
    assert [name for name, _ in instructions()[last:]].count("USER") == 1, "nothing is built as that user"


def test_the_image_is_made_of_pinned_parts():
    everything = dict(enumerate(instructions()))
    (base,) = [
        value for name, value in everything.values() if name == "ARG" and value.startswith("BASE_IMAGE")
    ]
    assert re.fullmatch(r"BASE_IMAGE=[a-z/]+:\d+\.\d+\.\d+[a-z0-9.-]*", base)
    assert not any(name == "ADD" or "latest" in value for name, value in everything.values())
    installs = [
        part
        for name, value in everything.values()
        if name == "RUN"
        for part in re.findall(r"pip install[^;]*", value)
    ]
    assert len(installs) >= 4
    assert all("-c constraints.txt" in part for part in installs)
    pins = [
        line for line in (FOLDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")
    ]
    assert pins
    assert all(re.fullmatch(r"[a-z-]+==[\d.]+", pin) for pin in pins)


def test_copied_files_exist_and_are_in_the_build_context():
    kept = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    copies = [value for name, value in instructions() if name == "COPY"]
    assert len(copies) >= 5
    for value in copies:
        *sources, _ = [word for word in value.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(f"!{source}".startswith(line) for line in kept if line.startswith("!")), source


def test_only_predictions_are_exposed():
    assert [value for name, value in instructions() if name == "EXPOSE"] == ["8080"]
    given = properties()
    for name in ("management_address", "metrics_address"):
        assert given[name].startswith("http://127.0.0.1:")
    for name in ("grpc_inference_address", "grpc_management_address"):
        assert given[name] == "127.0.0.1"
    assert given["disable_token_authorization"] == "false"
    assert given["enable_model_api"] == "false"
    assert given["allowed_urls"] == "file://.*"
    assert given["install_py_dep_per_model"] == "false"
    assert int(given["max_request_size"]) < 100 << 20


def test_hadolint_finds_nothing():
    subprocess.run([tool("hadolint"), str(FOLDER / "Dockerfile")], check=True)


def test_shellcheck_finds_nothing():
    subprocess.run([tool("shellcheck"), str(ENTRYPOINT)], check=True)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: {"MODEL_STORE": str(folder / "gone")}, "there is no folder"),
        (lambda folder: {"MODEL_STORE": str(folder)}, "no archive"),
    ],
)
def test_a_missing_store_is_an_error_of_one_line(tmp_path, prepare, words):
    environ = {**os.environ, **prepare(tmp_path)}
    ended = subprocess.run([str(ENTRYPOINT)], env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.server
def test_the_entrypoint_serves_and_ends_as_a_whole(store, onnx_file, tmp_path):
    shutil.copy(store / "onnx.mar", tmp_path / "onnx.mar")
    (tmp_path / "run").mkdir()
    names = ("INFERENCE", "MANAGEMENT", "METRICS")
    ports = free_ports(5)
    addresses = {
        f"TS_{name}_ADDRESS": f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)
    }
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {
        **os.environ,
        **java_environment(),
        **addresses,
        "TS_GRPC_INFERENCE_PORT": str(ports[3]),
        "TS_GRPC_MANAGEMENT_PORT": str(ports[4]),
        "PATH": binaries,
        "MODEL_STORE": str(tmp_path),
        "RUN_DIR": str(tmp_path / "run"),
    }
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(
            [str(ENTRYPOINT)], env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        assert _healthy(environ, within=90), (tmp_path / "log").read_text()[-3000:]
        keys = json.loads((tmp_path / "run" / "key_file.json").read_text())
        url = addresses["TS_INFERENCE_ADDRESS"] + "/predictions/onnx"
        image = pictures()[0]
        assert call(url, png_of(image)).status == 400, "a token is asked for"
        answer = call(url, png_of(image), Authorization=f"Bearer {keys['inference']['key']}")
        assert answer.status == 200
        (expected,) = labels_of(onnx_file, [image], backend="onnxruntime")
        assert np.array_equal(mask_of(answer.body), expected)
        _expire_management_token(tmp_path / "run" / "key_file.json", keys)
        assert _healthy(environ, within=1), "the check renews its token"
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
        assert session_of(server.pid) == []
    finally:
        end_group(server)
    ended = subprocess.run(HEALTHCHECK, env=environ, capture_output=True, text=True, check=False)
    assert (ended.returncode, "does not answer" in ended.stdout) == (1, True)


def _healthy(environ, *, within: float) -> bool:
    end = time.monotonic() + within
    while True:
        done = subprocess.run(HEALTHCHECK, env=environ, capture_output=True, check=False)
        if done.returncode == 0 or time.monotonic() > end:
            return done.returncode == 0
        time.sleep(0.5)


def _expire_management_token(path: Path, keys) -> None:
    """The file holds a token that the server no longer takes, as an hour later."""
    path.write_text(json.dumps({**keys, "management": {**keys["management"], "key": "expired"}}))
