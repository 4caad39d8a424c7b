"""A compiled program is unpacked into a folder that goes with it, and with a killed process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch
import torch._inductor  # makes a folder of its own in TMPDIR
from segplug_torchscript import programs

from segplug.errors import ArtifactError


class Unpacked:
    """What PyTorch returns: it needs its files as long as it lives."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aotinductor_", dir=os.environ["TMPDIR"]))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_files_go_with_the_function(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.aoti_load_package", lambda path, device_index: Unpacked())
    function = programs.load_compiled(Path("m.pt2"), torch.device("cpu"), {})
    (own,) = place.iterdir()
    assert own.name.startswith(".segplug-writing-")
    assert function.folder.parent == own  # type: ignore[attr-defined]
    assert function.folder.is_dir()  # type: ignore[attr-defined]
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(place)
    del function
    assert list(place.iterdir()) == []


def test_nothing_is_left_of_what_cannot_be_opened(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: str, device_index: int) -> None:
        Unpacked()
        raise RuntimeError("no such symbol")

    monkeypatch.setattr("torch._inductor.aoti_load_package", fails)
    with pytest.raises(ArtifactError, match="no such symbol"):
        programs.load_compiled(Path("m.pt2"), torch.device("cpu"), {})
    assert list(place.iterdir()) == []
