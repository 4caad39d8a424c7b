"""Paths, locations with a scheme, and names on a hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from segplug.locations import has_scheme, repository_name


@pytest.mark.parametrize("location", ["python:package.module:factory", "python:/a/b.py:f", "s3://bucket/x"])
def test_a_scheme(location: str) -> None:
    assert has_scheme(location)


@pytest.mark.parametrize("location", ["config.py", "/a/b.py", "C:\\configs\\a.py", "a/b:c.py", "", ":x"])
def test_a_path(location: str) -> None:
    assert not has_scheme(location)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("nvidia/segformer-b0-finetuned-ade-512-512", "nvidia/segformer-b0-finetuned-ade-512-512"),
        ("a/net.v1.5", "a/net.v1.5"),
        ("https://huggingface.co/nvidia/b0", "nvidia/b0"),
        ("https://huggingface.co/nvidia/b0/tree/main", "nvidia/b0"),
        ("https:/huggingface.co/nvidia/b0", "nvidia/b0"),  # as a Path
        ("https://hf.co/datasets/acme/roads?row=1", "acme/roads"),
    ],
)
def test_a_repository_on_a_hub(location: str, name: str) -> None:
    assert repository_name(location) == name


@pytest.mark.parametrize(
    "location",
    [
        *("config.py", "configs/pspnet.py", "runs/model.onnx", "a/b/c", "./a/b", "../b", "/a/b", "~/b", "a/"),
        *("https://example.com/a/b", "python:a/b.py:f", "", "net"),
    ],
)
def test_no_repository_on_a_hub(location: str) -> None:
    assert repository_name(location) is None


def test_a_path_in_a_folder_that_is_there_is_no_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert repository_name("models/b0") is None
