"""smp made importable, and a folder of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import proofs

proofs.install()


@pytest.fixture(scope="session")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small network of three classes. Nobody changes it: copy it first."""
    from smp_support.networks import saved

    folder = tmp_path_factory.mktemp("unet") / "unet"
    saved(folder)
    return folder


@pytest.fixture
def copy(unet: Path, tmp_path: Path) -> Path:
    """A copy of the same network, to change."""
    return Path(shutil.copytree(unet, tmp_path / "unet"))
