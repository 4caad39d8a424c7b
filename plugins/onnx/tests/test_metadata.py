"""Metadata inside ONNX files, and the protobuf wire format."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import onnx
import pytest
from segplug_onnx import metadata, wire
from segplug_onnx.exporter import provider as exporter

from segplug import Segplug
from segplug.errors import ArtifactError, UsageError
from segplug.preprocessing import Pad, Resize, usual_steps
from segplug.runtime.segment import Segmenter


@pytest.fixture
def copy(static_labels, tmp_path):
    path = tmp_path / "m.onnx"
    shutil.copy(static_labels.path, path)
    return path


def test_write_meta_changes_nothing_else(copy):
    before = onnx.load(copy)
    meta = metadata.read_meta(copy).replace(name="other", verification={"passed": True})
    exporter.write_meta(copy, meta)
    assert metadata.read_meta(copy) == meta
    after = onnx.load(copy)
    assert len(after.metadata_props) == 1
    del before.metadata_props[:], after.metadata_props[:]
    assert after.SerializeToString() == before.SerializeToString()
    assert [path.name for path in copy.parent.iterdir()] == ["m.onnx"]


def test_write_meta_keeps_the_weights_bytes(copy, static_labels):
    exporter.write_meta(copy, metadata.read_meta(copy).replace(name="x" * 5000))
    assert graph_bytes(copy) == graph_bytes(static_labels.path)


def graph_bytes(path):
    with open(path, "rb") as file:
        (graph,) = (
            field
            for field in wire.fields(file, 0, path.stat().st_size)
            if field.number == metadata.MODEL_GRAPH
        )
    return path.read_bytes()[graph.content : graph.end]


def test_the_session_reads_the_metadata_inside_a_file(static_labels, copy):
    assert Segplug().read_meta(static_labels.path) == static_labels.meta
    other = static_labels.meta.replace(name="other")
    exporter.write_meta(copy, other)
    assert Segplug().read_meta(copy) == other
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="was cut"):
        Segplug().read_meta(copy)


def test_write_meta_adds_to_the_properties_of_a_foreign_file(tmp_path, tiny):
    path = tmp_path / "foreign.onnx"
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    onnx.helper.set_model_props(proto, {"author": "someone"})
    onnx.save(proto, path)
    assert exporter.read_meta(path) is None
    assert Segplug().read_meta(path) is None
    metadata.write_meta(path, tiny.meta)
    properties = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert properties["author"] == "someone"
    assert metadata.read_meta(path) == tiny.meta


def test_full_disk_keeps_the_old_file(copy, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = copy.read_bytes()
    monkeypatch.setattr(metadata, "copy_range", full)
    with pytest.raises(ArtifactError, match="No space left"):
        metadata.write_meta(copy, metadata.read_meta(copy))
    assert copy.read_bytes() == before
    assert [path.name for path in copy.parent.iterdir()] == ["m.onnx"]


def test_a_file_cut_anywhere_is_refused(copy):
    whole = copy.read_bytes()
    for length in (*range(1, 1200, 7), len(whole) // 2, len(whole) - 1):
        copy.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"m\.onnx"):
            metadata.read_meta(copy)


@pytest.mark.parametrize("content", [b"", b"\x00" * 99, b"hello, this is text", b"\x89PNG\r\n\x1a\n" * 9])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"m\.onnx"):
        metadata.read_meta(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        metadata.read_meta(tmp_path / "m.onnx")


def test_metadata_of_a_newer_segplug_is_refused(copy):
    newer = metadata.read_meta(copy).replace(schema_version=999)
    metadata.write_meta(copy, newer)
    with pytest.raises(ArtifactError, match=r"m\.onnx: .*upgrade segplug"):
        metadata.read_meta(copy)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 2**21])
def test_written_fields_are_read_back(length):
    message = wire.bytes_field(7, b"a" * length) + wire.number_field(1, 2**40) + wire.bytes_field(14, b"z")
    found = list(wire.fields(io.BytesIO(message), 0, len(message)))
    assert [field.number for field in found] == [7, 1, 14]
    assert found[0].end - found[0].content == length
    assert [field.start for field in found[1:]] == [field.end for field in found[:-1]]


def test_a_file_of_an_older_segplug_gives_the_same_labels(export, model_of, tmp_path):
    """Schema 1 had one order of preprocessing, of three channels, and no stride."""
    mean, std, pad = (10.0, 20.0, 30.0), (40.0, 50.0, 60.0), Pad(divisor=16, value=(7.0, 0.0, 0.0))
    resize = Resize(scale=(60, 40), fit="inside")
    artifact = export(model_of(preprocessing=usual_steps(mean, std, resize=resize, pad=pad)), dynamic=True)
    path = tmp_path / "older.onnx"
    shutil.copy(artifact.path, path)
    data = artifact.meta.to_dict() | {
        "schema_version": 1,
        "mean": mean,
        "std": std,
        "channel_order": "rgb",
        "resize": {"scale": [60, 40], "keep_ratio": True},
        "pad": {"size": None, "divisor": 16, "value": 7.0},
    }
    for key in (
        "preprocessing",
        "tta",
        "approximations",
        "in_channels",
        "decoding",
        "output_stride",
        "scores",
    ):
        del data[key]
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {"segplug.meta": json.dumps(data)})
    onnx.save(proto, path)
    assert metadata.read_meta(path) == artifact.meta
    image = np.random.default_rng(3).integers(0, 256, (37, 53, 3)).astype(np.uint8)
    labels = []
    for file in (path, artifact.path):
        with Segplug().open(file, backend="onnxruntime", threads=1) as engine:
            labels += [found.labels for found in Segmenter(engine)([image])]
    assert len(np.unique(labels[0])) > 1
    assert np.array_equal(*labels)
