"""TorchScript artifacts: tensors are named by position, as Triton's PyTorch backend expects."""

from __future__ import annotations

import pytest
import torch
from triton_support.models import (
    CreatesTensors,
    HalfSize,
    OneSize,
    WarningRecorder,
    config_of,
    files,
    pack,
    tensors,
    tiny,
)
from tritonclient.grpc import model_config_pb2 as schema

from segplug import Segplug
from segplug.errors import ArtifactError, UsageError
from segplug.model import META_ENTRY, ModelMeta
from segplug.registry.discovery import entries

pytestmark = pytest.mark.skipif(
    not any(entry.target == "torchscript" for entry in entries("export")),
    reason="segplug-torchscript is not installed",
)

FP32 = schema.TYPE_FP32
CPU, AUTO = schema.ModelInstanceGroup.KIND_CPU, schema.ModelInstanceGroup.KIND_AUTO


@pytest.mark.filterwarnings("ignore:.*jit.load:DeprecationWarning")
def test_free_sizes(export, repository):
    artifact = export("torchscript", dynamic=True)
    config = pack(artifact, repository)
    assert (config.backend, config.platform) == ("pytorch", "pytorch_libtorch")
    assert config.default_model_filename == "model.pt"
    assert config.max_batch_size == 4
    assert tensors(config) == [("INPUT__0", FP32, (3, -1, -1)), ("OUTPUT__0", FP32, (4, -1, -1))]
    assert config.instance_group[0].kind == AUTO
    assert ModelMeta.from_json(config.parameters[META_ENTRY].string_value) == artifact.meta.public()
    assert files(repository)["tiny/1/model.pt"] == artifact.path.read_bytes()
    module = torch.jit.load(str(repository / "tiny/1/model.pt"))
    answer = module(torch.zeros(4, 3, 50, 34))
    assert (answer.shape, answer.dtype) == ((4, 4, 50, 34), torch.float32)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_channels_and_scores_at_a_stride(export, repository, channels):
    model = tiny(HalfSize, channels=channels)
    config = pack(export("torchscript", model, dynamic=True), repository)
    assert tensors(config) == [("INPUT__0", FP32, (channels, -1, -1)), ("OUTPUT__0", FP32, (4, -1, -1))]
    fixed = pack(export("torchscript", model, shape=(31, 48)), repository, model_name="fixed")
    assert tensors(fixed) == [
        ("INPUT__0", FP32, (1, channels, 31, 48)),
        ("OUTPUT__0", FP32, (1, 4, 16, 24)),
    ]


@pytest.mark.filterwarnings("ignore:.*jit.load:DeprecationWarning")
def test_scores_of_one_size(export, repository):
    free = pack(export("torchscript", tiny(OneSize), dynamic=True), repository)
    assert tensors(free) == [("INPUT__0", FP32, (3, -1, -1)), ("OUTPUT__0", FP32, (4, 20, 28))]
    fixed = pack(export("torchscript", tiny(OneSize)), repository, model_name="fixed")
    assert tensors(fixed) == [("INPUT__0", FP32, (1, 3, 32, 48)), ("OUTPUT__0", FP32, (1, 4, 20, 28))]


@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning", "ignore:.*`torch.jit:DeprecationWarning")
def test_scores_of_another_size_than_the_metadata_says(export, repository):
    wrong = export("torchscript", tiny(HalfSize))
    files = {"segplug.meta": wrong.meta.replace(output_stride=4).to_json()}
    torch.jit.save(torch.jit.load(str(wrong.path)), str(wrong.path), _extra_files=files)
    with pytest.raises(ArtifactError, match=r"nor scores of the size that its metadata says \("):
        pack(wrong.path, repository)


def test_one_size(export, repository):
    config = pack(export("torchscript"), repository)
    assert config.max_batch_size == 0
    assert tensors(config) == [("INPUT__0", FP32, (1, 3, 32, 48)), ("OUTPUT__0", FP32, (1, 4, 32, 48))]


def test_a_trace_with_a_device_runs_on_that_device(export, repository):
    artifact = export("torchscript", tiny(CreatesTensors))
    assert pack(artifact, repository).instance_group[0].kind == CPU
    with pytest.raises(UsageError, match="--device gpu: this artifact only runs on a CPU"):
        pack(artifact, repository, device="gpu", model_name="other")


def test_a_further_version_keeps_its_device(export, repository):
    """The versions share instance_group: if it allows a GPU, a version that needs the CPU is refused."""
    anywhere, bound = export("torchscript"), export("torchscript", tiny(CreatesTensors))
    recorder = WarningRecorder()
    pack(anywhere, repository)
    before = files(repository)
    with pytest.raises(UsageError, match="only runs on a CPU, and instance_group is KIND_AUTO"):
        Segplug(reporter=recorder).pack("triton", bound, folder=repository, model_version=2)
    assert files(repository) == before
    assert recorder.warnings == []

    pack(anywhere, repository, force=True, device="cpu")
    Segplug(reporter=recorder).pack("triton", bound, folder=repository, model_version=2)
    assert [group.kind for group in config_of(repository / "tiny").instance_group] == [CPU]
    assert "keeps it on the CPU" in "".join(recorder.warnings)


def test_an_edit_of_instance_group_is_checked(export, repository):
    bound = export("torchscript", tiny(CreatesTensors))
    pack(bound, repository)
    file = repository / "tiny" / "config.pbtxt"
    text = file.read_text()
    assert "kind: KIND_CPU" in text
    for kinds in ("KIND_AUTO", "KIND_CPU\n}\ninstance_group {\n  count: 1\n  kind: KIND_GPU"):
        file.write_text(text.replace("KIND_CPU", kinds))
        with pytest.raises(UsageError, match="only runs on a CPU"):
            pack(bound, repository, model_version=2)
    file.write_text(text.replace("count: 1", "count: 3"))
    assert pack(bound, repository, model_version=2).instance_group[0].count == 3


def test_a_checkpoint_is_no_artifact(tmp_path, repository):
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ArtifactError, match=r"weights\.pt"):
        pack(path, repository)
    assert not repository.exists()


def test_a_program_of_torch_export_is_refused(tmp_path, repository):
    path = tmp_path / "tiny.pt2"
    path.write_bytes(b"x")
    with pytest.raises(UsageError, match="pack ONNX or TorchScript"):
        pack(path, repository)
