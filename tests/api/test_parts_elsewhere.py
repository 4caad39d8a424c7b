"""A model that names a file outside of its folder as its weights: nothing reads it, nothing packs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segplug import Segplug
from segplug.errors import SegplugError
from segplug.model import META_ENTRY, ModelMeta

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links of POSIX")

WEIGHTS = np.random.default_rng(7).standard_normal((3, 3, 1, 1)).astype("float32").tobytes()


def write_model(path: Path, location: str) -> None:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(3, 3, 1, 1))
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(WEIGHTS)))):
        weights.external_data.add(key=key, value=value)
    image, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("input", "output")
    )
    nodes = [helper.make_node("Conv", ["input", "w"], ["output"])]
    graph = helper.make_graph(nodes, "g", [image], [scores], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.add(key=META_ENTRY, value=ModelMeta("m", classes=("a", "b", "c")).to_json())
    path.write_bytes(model.SerializeToString())


def infer(model: Path, folder: Path) -> None:
    with Segplug().open(model, backend="onnxruntime"):
        pass


def triton(model: Path, folder: Path) -> None:
    Segplug().pack("triton", model, folder=folder / "repository")


def torchserve(model: Path, folder: Path) -> None:
    Segplug().pack("torchserve", model, folder=folder / "store")


def flops(model: Path, folder: Path) -> None:
    Segplug().analyze("flops", model)


USERS = [infer, triton, torchserve, flops]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the machine that happens to be valid as weights."""
    (tmp_path / "secret.bin").write_bytes(WEIGHTS)
    (tmp_path / "model").mkdir()
    return tmp_path / "secret.bin"


@pytest.mark.parametrize("use", USERS)
@pytest.mark.parametrize("how", ["link", "linked folder", "dots", "absolute", "sidecar"])
def test_a_file_elsewhere_is_never_followed(
    secret: Path, how: str, use: Callable[[Path, Path], None]
) -> None:
    model = secret.parent / "model" / "m.onnx"
    names = {"dots": "../secret.bin", "absolute": str(secret), "linked folder": "folder/secret.bin"}
    write_model(model, names.get(how, "m.data"))
    if how == "link":
        (model.parent / "m.data").symlink_to("../secret.bin")
    elif how == "linked folder":
        (model.parent / "folder").symlink_to("..")
    elif how == "sidecar":
        (model.parent / "m.data").write_bytes(WEIGHTS[::-1])
        model.with_name("m.onnx.json").symlink_to("../secret.bin")
    before = set(secret.parent.rglob("*"))
    if how == "sidecar" and use in (infer, flops):  # the metadata is in the file itself
        use(model, secret.parent)
    else:
        with pytest.raises(SegplugError, match="outside of its folder"):
            use(model, secret.parent)
    for file in set(secret.parent.rglob("*")) - before:
        assert not file.is_file() or WEIGHTS not in file.read_bytes(), file


@pytest.mark.parametrize("use", [infer, triton, torchserve])
def test_the_cache_of_a_model_hub_works(tmp_path: Path, use: Callable[[Path, Path], None]) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    write_model(blobs / "abc", "m.data")
    (blobs / "def").write_bytes(WEIGHTS)
    (snapshot / "m.onnx").symlink_to("../../blobs/abc")
    (snapshot / "m.data").symlink_to("../../blobs/def")
    use(snapshot / "m.onnx", tmp_path)


@pytest.mark.parametrize("use", USERS)
def test_a_link_of_a_whole_model_works(tmp_path: Path, use: Callable[[Path, Path], None]) -> None:
    (tmp_path / "store").mkdir()
    write_model(tmp_path / "store" / "abc.onnx", "m.data")
    (tmp_path / "store" / "m.data").write_bytes(WEIGHTS)
    whole = onnx.load(tmp_path / "store" / "abc.onnx")
    onnx.save(whole, tmp_path / "store" / "whole.onnx")
    (tmp_path / "model.onnx").symlink_to("store/whole.onnx")
    use(tmp_path / "model.onnx", tmp_path)


@pytest.mark.parametrize("use", USERS)
def test_weights_that_are_a_pipe_are_refused_at_once(secret: Path, use: Callable[[Path, Path], None]) -> None:
    model = secret.parent / "model" / "m.onnx"
    write_model(model, "m.data")
    os.mkfifo(model.with_name("m.data"))
    with pytest.raises(SegplugError, match="is a pipe, not a file"):
        use(model, secret.parent)
