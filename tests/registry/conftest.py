"""Fixtures of the registry's tests: the command line, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from segplug.cli.root import run_command_line

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
