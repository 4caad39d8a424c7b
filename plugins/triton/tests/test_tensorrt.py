"""TensorRT plans. The plan here is not a real one: only its metadata is read, and it is copied unchanged."""

from __future__ import annotations

import re

import pytest
from triton_support.models import CLASSES, files, pack, tensors
from tritonclient.grpc import model_config_pb2 as schema

from segplug.artifact import sidecar_path, write_sidecar
from segplug.errors import ArtifactError, UsageError
from segplug.model import ModelMeta

DESCRIPTION = {
    "input": {"name": "input", "dtype": "float32", "shape": [-1, 3, -1, -1]},
    "output": {"name": "output", "dtype": "int32", "shape": [-1, -1, -1]},
    "profiles": [{"min": [1, 3, 64, 64], "opt": [2, 3, 96, 96], "max": [6, 3, 128, 128]}],
}


def fake_plan(tmp_path, suffix=".engine", **changes):
    path = tmp_path / f"street{suffix}"
    path.write_bytes(b"no real plan")
    write_sidecar(path, ModelMeta("street", classes=CLASSES, extra={"tensorrt": {**DESCRIPTION, **changes}}))
    return path


@pytest.mark.parametrize("suffix", [".engine", ".plan"])
def test_a_plan(tmp_path, repository, suffix):
    config = pack(fake_plan(tmp_path, suffix), repository, max_batch_size=6)
    assert (config.backend, config.platform) == ("tensorrt", "tensorrt_plan")
    assert config.max_batch_size == 6
    assert tensors(config) == [
        ("input", schema.TYPE_FP32, (3, -1, -1)),
        ("output", schema.TYPE_INT32, (-1, -1)),
    ]
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    assert files(repository)["street/1/model.plan"] == b"no real plan"


def test_the_profile_bounds_the_batch(tmp_path, repository):
    plan = fake_plan(tmp_path)
    with pytest.raises(UsageError, match="takes at most 6 images"):
        pack(plan, repository, max_batch_size=7)
    few = [{"min": [1, 3, 64, 64], "opt": [1, 3, 64, 64], "max": [2, 3, 64, 64]}]
    assert pack(fake_plan(tmp_path, profiles=few), repository).max_batch_size == 2


def test_a_profile_that_takes_no_single_image(tmp_path, repository):
    many = [{"min": [4, 3, 64, 64], "opt": [4, 3, 64, 64], "max": [8, 3, 64, 64]}]
    config = pack(fake_plan(tmp_path, profiles=many), repository)
    assert config.max_batch_size == 0
    assert tensors(config)[0] == ("input", schema.TYPE_FP32, (-1, 3, -1, -1))


def test_a_fixed_plan(tmp_path, repository):
    fixed = {"name": "input", "dtype": "float16", "shape": [2, 3, 64, 64]}
    config = pack(fake_plan(tmp_path, input=fixed, profiles=[]), repository)
    assert config.max_batch_size == 0
    assert tensors(config)[0] == ("input", schema.TYPE_FP16, (2, 3, 64, 64))


def test_a_plan_runs_on_gpus(tmp_path, repository):
    with pytest.raises(UsageError, match="only runs on a GPU"):
        pack(fake_plan(tmp_path), repository, device="cpu")


def test_a_further_plan_must_fit_instance_group(tmp_path, repository):
    """Without instance_group Triton runs a model on the GPUs; no plan runs on a CPU."""
    plan = fake_plan(tmp_path)
    pack(plan, repository)
    file = repository / "street" / "config.pbtxt"
    file.write_text(re.sub(r"instance_group \{[^}]*\}\n", "", file.read_text()))
    assert not pack(plan, repository, model_version=2).instance_group
    file.write_text(file.read_text() + "instance_group { kind: KIND_CPU }\n")
    with pytest.raises(UsageError, match="only runs on a GPU, and instance_group is KIND_CPU"):
        pack(plan, repository, model_version=3)


@pytest.mark.parametrize(
    "changes",
    [
        {"input": None},
        {"input": {"name": "input", "dtype": "float32"}},
        {"output": {"name": "output", "dtype": "quarter", "shape": [1]}},
        {"output": {"name": "output", "dtype": "int32", "shape": [0, 3]}},
        {"profiles": []},
        {"profiles": [{"max": [4]}]},
    ],
)
def test_an_incomplete_metadata_file(tmp_path, repository, changes):
    with pytest.raises(ArtifactError, match="does not describe the plan's input and output"):
        pack(fake_plan(tmp_path, **changes), repository)
    assert not repository.exists()


def test_without_a_metadata_file(tmp_path, repository):
    plan = fake_plan(tmp_path)
    sidecar_path(plan).unlink()
    with pytest.raises(ArtifactError, match=r"writes street\.engine\.json"):
        pack(plan, repository)
