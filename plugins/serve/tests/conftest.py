"""Fixtures: servers that tests share, and functions that start one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serve_support.models import Project, install_paced, make_project
from serve_support.servers import Running, start


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("serve-project"))


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Start servers; those that still run at the end are killed."""
    servers = []

    def run(subject: Path, *options: str, **environment: str) -> Running:
        servers.append(
            start(subject, *options, log=tmp_path_factory.mktemp("server") / "log.txt", **environment)
        )
        return servers[-1]

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="session")
def paced(
    started: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Running]:
    """Start a server whose engine takes a given number of seconds for each batch."""
    folder = tmp_path_factory.mktemp("paced")
    path = install_paced(folder / "site")

    def run(seconds: float, *options: str) -> Running:
        artifact = folder / f"{seconds}.paced"
        artifact.write_text(f'{{"seconds": {seconds}}}')
        return started(artifact, *options, PYTHONPATH=str(path), XDG_CACHE_HOME=str(folder / "cache"))

    return run


@pytest.fixture(scope="session")
def server(started: Callable[..., Running], project: Project) -> Running:
    """The tiny network as ONNX, in batches of four."""
    return started(project.artifact(".onnx"), "--batch-size", "4", "--max-delay", "50", "--threads", "1")
