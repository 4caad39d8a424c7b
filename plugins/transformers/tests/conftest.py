"""Tiny models of transformers, each saved once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from matrix import transformers_zoo


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model of the zoo, by its name. Nobody changes it: copy it first."""
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("zoo") / name
            transformers_zoo.save(name, folders[name])
        return folders[name]

    return folder


@pytest.fixture
def segformer(zoo: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a tiny SegFormer, to change."""
    return Path(shutil.copytree(zoo("segformer"), tmp_path / "segformer"))
