"""Artifacts are described by their content, and their metadata lies beside them."""

from __future__ import annotations

from pathlib import Path

from segplug import artifact
from segplug.model import ModelMeta


def test_the_sidecar_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "m.engine"
    meta = ModelMeta(name="m", classes=("a", "b"), palette=((1, 2, 3), (4, 5, 6)), input_size=(4, 6))
    assert artifact.read_sidecar(path) is None
    artifact.write_sidecar(path, meta)
    assert artifact.read_sidecar(path) == meta


def test_a_folder_is_described_by_its_files(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"345")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(content)
    meta = ModelMeta(name="m")
    whole = artifact.describe(tmp_path, format="triton", meta=meta)
    assert whole.size == 5
    (tmp_path / "a").rename(tmp_path / "c")
    assert artifact.describe(tmp_path, format="triton", meta=meta).sha256 != whole.sha256
