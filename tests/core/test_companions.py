"""Where the parts of an artifact may lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segplug.artifact import read_sidecar
from segplug.companions import check_companion, named_companion, require_companion
from segplug.errors import ArtifactError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links of POSIX")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_text("another file of the machine")
    (tmp_path / "model" / "m.onnx").write_text("model")
    return tmp_path / "model" / "m.onnx"


@pytest.mark.parametrize("name", ["m.data", "./m.data", "folder/m.data"])
def test_a_part_lies_in_the_folder_or_below(artifact: Path, name: str) -> None:
    assert named_companion(artifact, name) == artifact.parent / name  # whether it is there or not


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "a/../../secret", "a/../m.data", "", ".", "\0"])
def test_a_name_that_leads_out_is_refused(artifact: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="outside of its folder"):
        named_companion(artifact, name)


@pytest.mark.parametrize("target", ["../secret", "/dev/zero", "../none", "m.data"])
def test_a_link_that_leads_out_is_refused(artifact: Path, target: str) -> None:
    (artifact.parent / "m.data").symlink_to(target)
    with pytest.raises(ArtifactError, match="outside of its folder"):
        named_companion(artifact, "m.data")
    with pytest.raises(ArtifactError, match="outside of its folder"):
        check_companion(artifact, artifact.parent / "m.data")


def test_a_linked_folder_that_leads_out_is_refused(artifact: Path) -> None:
    (artifact.parent / "folder").symlink_to("..")
    with pytest.raises(ArtifactError, match="outside of its folder"):
        named_companion(artifact, "folder/secret")


def test_a_link_within_the_folder_is_followed(artifact: Path) -> None:
    (artifact.parent / "real.data").write_text("weights")
    (artifact.parent / "m.data").symlink_to("real.data")
    require_companion(artifact, named_companion(artifact, "m.data"))


def test_a_path_that_a_backend_made_is_judged_like_a_name(artifact: Path) -> None:
    for path in (artifact.parent.parent / "secret", artifact.parent / ".." / "secret", Path("/etc/passwd")):
        with pytest.raises(ArtifactError, match="outside of its folder"):
            check_companion(artifact, path)


def test_a_part_that_is_missing_or_no_file_is_named(artifact: Path) -> None:
    with pytest.raises(ArtifactError, match=r"lacks a part: there is no file .*m\.data"):
        require_companion(artifact, artifact.parent / "m.data")
    os.mkfifo(artifact.parent / "m.data")
    with pytest.raises(ArtifactError, match=r"m\.data is a pipe, not a file"):
        require_companion(artifact, artifact.parent / "m.data")


def test_the_cache_of_a_model_hub_is_read(tmp_path: Path) -> None:
    """There both files lie in one folder, and are linked from another one."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name, blob in (("m.onnx", "abc"), ("m.data", "def")):
        (blobs / blob).write_text(name)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    require_companion(snapshot / "m.onnx", named_companion(snapshot / "m.onnx", "m.data"))


def test_parts_of_a_linked_artifact_are_looked_for_beside_the_link(tmp_path: Path, artifact: Path) -> None:
    (artifact.parent / "m.data").write_text("weights of the store")
    (tmp_path / "here").mkdir()
    link = tmp_path / "here" / "model.onnx"
    link.symlink_to("../model/m.onnx")
    with pytest.raises(ArtifactError, match=r"there is no file .*here/m\.data"):
        require_companion(link, named_companion(link, "m.data"))


def test_a_sidecar_is_a_part(artifact: Path) -> None:
    artifact.with_name("m.onnx.json").symlink_to("../secret")
    with pytest.raises(ArtifactError, match="outside of its folder"):
        read_sidecar(artifact)
