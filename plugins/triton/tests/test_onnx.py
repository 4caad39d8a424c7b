"""ONNX artifacts: config.pbtxt describes the file, and ONNX Runtime runs it with that description."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from triton_support.models import HalfSize, OneSize, WarningRecorder, config_of, files, pack, tensors, tiny
from triton_support.stand_in import full_shape, serve_once
from tritonclient.grpc import model_config_pb2 as schema

from segplug import Segplug
from segplug.artifact import write_sidecar
from segplug.errors import ArtifactError, UsageError
from segplug.model import META_ENTRY, ModelMeta

FP32, INT64 = schema.TYPE_FP32, schema.TYPE_INT64


def images(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def meta_of(config):
    return ModelMeta.from_json(config.parameters[META_ENTRY].string_value)


def test_dynamic_labels(dynamic_labels, repository):
    config = pack(dynamic_labels, repository)
    assert (config.name, config.backend, config.platform) == ("tiny", "onnxruntime", "onnxruntime_onnx")
    assert config.default_model_filename == "model.onnx"
    assert config.max_batch_size == 4
    assert config.HasField("dynamic_batching")
    assert tensors(config) == [("input", FP32, (3, -1, -1)), ("output", INT64, (-1, -1))]
    assert [(group.kind, group.count) for group in config.instance_group] == [
        (schema.ModelInstanceGroup.KIND_AUTO, 1)
    ]
    assert meta_of(config) == dynamic_labels.meta.public()
    assert files(repository)["tiny/1/model.onnx"] == dynamic_labels.path.read_bytes()
    assert set(files(repository)) == {"tiny/1/model.onnx", "tiny/config.pbtxt"}


def test_static_logits(static_logits, repository):
    config = pack(static_logits, repository)
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert tensors(config) == [("input", FP32, (1, 3, 32, 48)), ("output", FP32, (1, 4, 32, 48))]


@pytest.mark.parametrize(
    "channels", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(13, marks=pytest.mark.slow)]
)
def test_channels_and_scores_at_a_stride(export, repository, channels):
    model = tiny(HalfSize, channels=channels)
    config = pack(export(model=model, dynamic=True, output_kind="logits"), repository)
    assert tensors(config) == [("input", FP32, (channels, -1, -1)), ("output", FP32, (4, -1, -1))]
    answer = serve_once(repository / "tiny", 1, {"input": images(2, channels, 34, 46)})
    assert answer["output"].shape == (2, 4, 17, 23)
    fixed = pack(export(model=model, output_kind="logits"), repository, model_name="fixed")
    assert tensors(fixed) == [("input", FP32, (1, channels, 32, 48)), ("output", FP32, (1, 4, 16, 24))]
    labels = pack(export(model=model, dynamic=True), repository, model_name="labels")
    assert tensors(labels)[1] == ("output", INT64, (-1, -1))
    assert serve_once(repository / "labels", 1, {"input": images(1, channels, 34, 46)})["output"].shape == (
        1,
        34,
        46,
    )


def test_scores_of_one_size(export, repository):
    config = pack(export(model=tiny(OneSize), dynamic=True, output_kind="logits"), repository)
    assert tensors(config) == [("input", FP32, (3, -1, -1)), ("output", FP32, (4, 20, 28))]
    assert meta_of(config).output_size == (20, 28)
    assert serve_once(repository / "tiny", 1, {"input": images(2, 3, 34, 46)})["output"].shape == (
        2,
        4,
        20,
        28,
    )


def test_the_dimensions_of_a_slide_model_are_its_window(slide, repository):
    config = pack(slide, repository)
    assert tensors(config) == [("input", FP32, (1, 3, 24, 40)), ("output", FP32, (1, 4, 24, 40))]
    assert meta_of(config).inference == slide.meta.inference


@pytest.mark.parametrize("artifact", ["dynamic_labels", "static_logits", "slide"])
def test_the_config_equals_what_onnx_runtime_reports(artifact, repository, request):
    """Triton refuses a config whose dimensions differ from what ONNX Runtime reports of the file."""
    config = pack(request.getfixturevalue(artifact), repository)
    session = onnxruntime.InferenceSession(str(repository / "tiny/1/model.onnx"))
    nodes = [*session.get_inputs(), *session.get_outputs()]
    for node, item in zip(nodes, (*config.input, *config.output), strict=True):
        reported = tuple(size if isinstance(size, int) else -1 for size in node.shape)
        assert (node.name, reported) == (item.name, full_shape(config, item.dims))


@pytest.mark.parametrize(("batch", "height", "width"), [(4, 32, 48), (1, 70, 54)])
def test_a_free_file_runs_by_its_config(dynamic_labels, repository, batch, height, width):
    pack(dynamic_labels, repository)
    answer = serve_once(repository / "tiny", 1, {"input": images(batch, 3, height, width)})
    assert answer["output"].shape == (batch, height, width)


def test_a_fixed_file_runs_by_its_config(static_logits, repository):
    pack(static_logits, repository)
    answer = serve_once(repository / "tiny", 1, {"input": images(1, 3, 32, 48)})
    assert answer["output"].shape == (1, 4, 32, 48)
    with pytest.raises(ValueError, match="unexpected shape"):
        serve_once(repository / "tiny", 1, {"input": images(2, 3, 32, 48)})


def test_settings(dynamic_labels, repository):
    config = pack(
        dynamic_labels,
        repository,
        model_name="street.v1",
        model_version=7,
        max_batch_size=8,
        preferred_batch_size=(8, 4),
        max_queue_delay=500,
        instances=2,
        device="gpu",
    )
    assert config.name == "street.v1"
    assert config.max_batch_size == 8
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    (group,) = config.instance_group
    assert (group.kind, group.count) == (schema.ModelInstanceGroup.KIND_GPU, 2)
    assert (repository / "street.v1/7/model.onnx").is_file()


def test_without_batching_a_free_batch_is_a_dimension(dynamic_labels, repository):
    config = pack(dynamic_labels, repository, max_batch_size=0)
    assert tensors(config) == [("input", FP32, (-1, 3, -1, -1)), ("output", INT64, (-1, -1, -1))]
    assert not config.HasField("dynamic_batching")
    assert serve_once(repository / "tiny", 1, {"input": images(3, 3, 40, 40)})["output"].shape == (3, 40, 40)


def test_one_image_needs_no_batcher(dynamic_labels, repository):
    config = pack(dynamic_labels, repository, max_batch_size=1)
    assert not config.HasField("dynamic_batching")
    assert tensors(config)[0] == ("input", FP32, (3, -1, -1))


@pytest.mark.parametrize(
    ("artifact", "given", "words"),
    [
        ("static_logits", {"max_batch_size": 4}, "batch is not free"),
        ("static_logits", {"preferred_batch_size": (2,)}, "Triton forms no batches"),
        ("dynamic_labels", {"max_batch_size": 1, "max_queue_delay": 5}, "Triton forms no batches"),
        ("dynamic_labels", {"preferred_batch_size": (8,)}, "8 is larger than --max-batch-size 4"),
        ("dynamic_labels", {"model_name": "a/b"}, "is not a valid name"),
        ("dynamic_labels", {"model_name": ".."}, "is not a valid name"),
        ("dynamic_labels", {"model_name": ""}, "is empty"),
        ("dynamic_labels", {"model_version": 0}, "within 1"),
        ("dynamic_labels", {"model_version": 2**31}, "within 1"),
        ("dynamic_labels", {"max_batch_size": 2**31}, "within 0"),
        ("dynamic_labels", {"preferred_batch_size": (2**31,)}, "within 1"),
        ("dynamic_labels", {"max_queue_delay": 2**31}, "within 0"),
        ("dynamic_labels", {"instances": 2**31}, "within 1"),
    ],
)
def test_settings_that_do_not_fit(artifact, given, words, repository, request):
    with pytest.raises(UsageError, match=words):
        pack(request.getfixturevalue(artifact), repository, **given)
    assert not repository.exists()


def test_a_foreign_file(data_dir, repository):
    """Old opset, initialisers among its inputs, a slash in a name, and none of our metadata."""
    recorder = WarningRecorder()
    path = data_dir / "onnx" / "SINet_Softmax.onnx"
    packed = Segplug(reporter=recorder).pack("triton", path, folder=repository)
    config = config_of(packed.path)
    assert tensors(config) == [("data", FP32, (1, 3, 320, 320)), ("Softmax/1", FP32, (1, 2, 320, 320))]
    assert META_ENTRY not in config.parameters
    assert [text for text in recorder.warnings if "no segplug metadata" in text]
    answer = serve_once(packed.path, 1, {"data": images(1, 3, 320, 320)})
    assert answer["Softmax/1"].sum(axis=1) == pytest.approx(np.ones((1, 320, 320)), abs=1e-4)


def test_a_fixed_batch_of_the_output_is_respected(tmp_path, repository):
    """A file whose output has a fixed batch: Triton must not form batches."""
    path = tmp_path / "odd name!.onnx"
    node = helper.make_node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=1)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 3, 8, 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    config = pack(path, repository)
    assert config.name == "odd_name_"
    assert config.max_batch_size == 0
    assert tensors(config) == [
        ("x", schema.TYPE_FP16, (-1, 3, 8, 8)),
        ("y", schema.TYPE_FP16, (1, 3, 8, 8)),
    ]


def save_with_weights_in(location, path):
    weight = numpy_helper.from_array(np.full((4, 3, 3, 3), 0.5, np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [weight],
    )
    onnx.save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(path),
        save_as_external_data=True,
        location=location,
        size_threshold=0,
    )
    return path


@pytest.fixture
def with_weights_beside(tmp_path):
    return save_with_weights_in("weights of it.bin", tmp_path / "large.onnx")


def test_weights_in_a_separate_file_are_packed(with_weights_beside, repository):
    pack(with_weights_beside, repository)
    beside = with_weights_beside.with_name("weights of it.bin")
    packed = files(repository)
    assert packed["large/1/model.onnx/model.onnx"] == with_weights_beside.read_bytes()
    assert packed["large/1/model.onnx/weights of it.bin"] == beside.read_bytes()
    beside.unlink()
    assert serve_once(repository / "large", 1, {"x": images(2, 3, 9, 7)})["y"].shape == (2, 4, 9, 7)


def test_a_metadata_file_is_not_packed(dynamic_labels, tmp_path, repository):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(dynamic_labels.path.read_bytes())
    write_sidecar(path, dynamic_labels.meta)
    pack(path, repository)
    assert set(files(repository)) == {"tiny/config.pbtxt", "tiny/1/model.onnx"}


@pytest.mark.parametrize("location", ["model.onnx", "./model.onnx", "model.onnx/weights.bin"])
def test_weights_with_the_models_file_name(tmp_path, repository, location):
    (tmp_path / location).parent.mkdir(exist_ok=True)
    path = save_with_weights_in(location, tmp_path / "large.onnx")
    with pytest.raises(ArtifactError, match=r"large\.onnx are in 'model\.onnx'.*another name"):
        pack(path, repository)
    assert not repository.exists()


def test_missing_weights_are_an_error(with_weights_beside, repository):
    with_weights_beside.with_name("weights of it.bin").unlink()
    with pytest.raises(ArtifactError, match=r"large\.onnx"):
        pack(with_weights_beside, repository)
    assert not repository.exists()


def test_a_damaged_file(dynamic_labels, tmp_path, repository):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(dynamic_labels.path.read_bytes()[:-200])
    with pytest.raises(ArtifactError, match="was cut"):
        pack(cut, repository)
    cut.write_bytes(b"")
    with pytest.raises(ArtifactError, match="is empty"):
        pack(cut, repository)
    assert not repository.exists()
