"""Checkpoints of torchvision's networks, each saved once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import proofs


@pytest.fixture(scope="session", autouse=True)
def torchvision() -> None:
    """Importable from the first of these tests on, and not while all tests are collected."""
    proofs.install()


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The checkpoint of a network of the zoo, by its name. Nobody changes it."""
    from matrix import torchvision_zoo

    files: dict[str, Path] = {}

    def file(name: str) -> Path:
        if name not in files:
            files[name] = torchvision_zoo.save(name, tmp_path_factory.mktemp("zoo"))
        return files[name]

    return file


@pytest.fixture
def lraspp(zoo: Callable[[str], Path]) -> Path:
    """The checkpoint of the smallest network, with five classes."""
    return zoo("lraspp_mobilenet_v3_large")
