"""The record beside a plan, and the reasons not to open the plan."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
from segplug_tensorrt.driver import Gpu
from segplug_tensorrt.library import Library
from segplug_tensorrt.profiles import Profile
from segplug_tensorrt.record import Record, Tensor, differences, read_record

from segplug import ModelMeta
from segplug.errors import ArtifactError

SHAPE = (1, 3, 32, 48)
ORIN, THOR = Gpu(0, "Orin", (8, 7)), Gpu(0, "Thor", (11, 0))
RECORD = Record(
    flavor="tensorrt",
    version="10.13.3.9",
    precision="fp16",
    input=Tensor("input", "float32", SHAPE),
    output=Tensor("output", "float32", SHAPE),
    profiles=(Profile(SHAPE, SHAPE, SHAPE),),
    onnx_sha256="0" * 64,
    plan_sha256="1" * 64,
).with_gpu(ORIN, "13.0")
FOR_RTX = replace(RECORD, flavor="tensorrt-rtx", version="1.7.1.116")
TENSORRT = Library("tensorrt", ModuleType("trt"), "10.13.3.9")
RTX = Library("tensorrt-rtx", ModuleType("trt"), "1.7.1.116")


def test_a_record_is_read_back_unchanged(tmp_path):
    meta = ModelMeta.from_json(RECORD.add_to(ModelMeta("m")).to_json())
    assert read_record(meta, tmp_path / "m.engine") == RECORD


def test_a_damaged_record_is_refused(tmp_path):
    meta = RECORD.add_to(ModelMeta("m"))
    for damaged in ({}, {"tensorrt": None}, {"tensorrt": {**meta.extra["tensorrt"], "profiles": [{}]}}):
        with pytest.raises(ArtifactError, match="build the engine again"):
            read_record(meta.replace(extra=damaged), tmp_path / "m.engine")


@pytest.mark.parametrize(
    ("record", "library", "gpu", "words"),
    [
        (RECORD, TENSORRT, ORIN, ()),
        (RECORD, RTX, ORIN, ("built with tensorrt, not with tensorrt-rtx",)),
        (RECORD, replace(TENSORRT, version="11.4.0.106"), ORIN, ("tensorrt 10.13.3.9, not with 11.4.0.106",)),
        (RECORD, TENSORRT, THOR, ("built for Orin (compute capability 8.7), not for Thor (11.0)",)),
        (RECORD, TENSORRT, replace(ORIN, name="Nano"), ("built for Orin, not for Nano",)),
        (
            replace(RECORD, flavor="tensorrt-rtx", gpu=None, compute_capability=None),
            TENSORRT,
            THOR,
            ("built with tensorrt-rtx, not with tensorrt",),
        ),
        (replace(RECORD, flavor="tensorrt-rtx", version="1.7.1.116"), RTX, replace(ORIN, name="Nano"), ()),
        (RECORD, replace(TENSORRT, version="11.0"), THOR, ("not with 11.0", "compute capability")),
    ],
)
def test_every_difference_is_named(record, library, gpu, words):
    found = differences(record, library, gpu)
    assert len(found) == len(words)
    for phrase, word in zip(found, words, strict=True):
        assert word in phrase
