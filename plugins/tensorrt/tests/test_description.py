"""What the record beside a plan says of it; the plan is not opened."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from segplug_tensorrt.builder import provider
from segplug_tensorrt.profiles import Profile
from segplug_tensorrt.record import Record, Tensor
from segplug_tensorrt.torch_builder import provider as torch_provider

from segplug import ModelMeta
from segplug.artifact import write_sidecar

PLAN = b"a plan"
RECORD = Record(
    flavor="tensorrt-rtx",
    version="1.7.1",
    precision="fp16",
    input=Tensor("input", "float32", (-1, 3, -1, 64)),
    output=Tensor("output", "int64", (-1, -1, 64)),
    profiles=(Profile((1, 3, 32, 64), (1, 3, 64, 64), (4, 3, 128, 64)),),
    onnx_sha256="0" * 64,
    plan_sha256=sha256(PLAN).hexdigest(),
)


def plan(folder: Path, record: Record | None) -> Path:
    path = folder / "m.engine"
    path.write_bytes(PLAN)
    if record is not None:
        write_sidecar(path, record.add_to(ModelMeta("m")))
    return path


def test_sizes_are_those_of_the_profiles(tmp_path: Path) -> None:
    found = provider.describe(plan(tmp_path, RECORD))
    assert found is not None
    assert (found.what, found.notes) == ("TensorRT-RTX engine", ())
    (image,), (labels,) = found.inputs, found.outputs
    assert [axis.sizes.in_words() for axis in image.axes or ()] == ["1 to 4", "3", "32 to 128", "64"]
    assert labels.type == "int64"
    assert found.details == {
        "built with": "tensorrt-rtx 1.7.1",
        "precision": "fp16",
        "for": "every GPU that the library supports",
        "input sizes": ["1x3x32x64 to 4x3x128x64, fastest at 1x3x64x64"],
    }


def test_the_maker_is_the_one_that_built_it(tmp_path: Path) -> None:
    path = plan(tmp_path, replace(RECORD, onnx_sha256=None))
    assert provider.describe(path) is None
    assert torch_provider.describe(path) is not None


def test_a_plan_without_its_record_or_with_that_of_another(tmp_path: Path) -> None:
    found = provider.describe(plan(tmp_path, None))
    assert found is not None
    assert "m.engine.json is not beside it" in found.notes[0]
    found = provider.describe(plan(tmp_path, replace(RECORD, plan_sha256="1" * 64)))
    assert found is not None
    assert "cut, changed or replaced" in found.notes[0]
