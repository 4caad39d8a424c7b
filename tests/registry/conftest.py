"""Fixtures of the registry's tests: the command line and what it says, and packages to install."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from segplug.cli.root import run_command_line
from segplug.registry import discovery
from segplug.testing.fixtures import Install

Command = Callable[..., str]
"""Runs a command line, and gives what it printed."""


@pytest.fixture
def done(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command that succeeds, and gives its standard output."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        code = run_command_line([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command that fails with a given exit code and one line on stderr, and gives this line."""

    def run(code: int, *arguments: object) -> str:
        capsys.readouterr()
        actual = run_command_line([str(argument) for argument in arguments])
        _, err = capsys.readouterr()
        assert actual == code, err
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run


@pytest.fixture
def listed(done: Command) -> Callable[[str], dict[str, Any]]:
    """What ``segplug plugins list`` says of one target."""

    def find(target: str) -> dict[str, Any]:
        (found,) = [
            item for item in json.loads(done("plugins", "list", "--json")) if item["target"] == target
        ]
        return dict(found)

    return find


@pytest.fixture
def install_packages(install_plugin: Install) -> Iterator[Install]:
    """Installs a distribution without a manifest, from its files: their paths and their texts."""
    tops: set[str] = set()

    def install(name: str, entries: Mapping[str, Mapping[str, str]], files: Mapping[str, str]) -> Path:
        folder = install_plugin(name, entries, manifest=False)
        for file, text in files.items():
            path = folder / file
            tops.add(Path(file).parts[0].removesuffix(".py"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        discovery.forget()
        return folder

    yield install
    for module in [name for name in sys.modules if name.partition(".")[0] in tops]:
        del sys.modules[module]
    discovery.forget()
