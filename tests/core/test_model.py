"""Metadata goes through JSON unchanged, and a newer schema is refused by name."""

from __future__ import annotations

import json

import pytest

from segplug.errors import ArtifactError
from segplug.model import Inference, ModelMeta, Pad, Provenance, Resize

FULL = ModelMeta(
    name="unet",
    classes=("background", "vessel"),
    palette=((120, 120, 120), (6, 230, 230)),
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    channel_order="rgb",
    input_size=(64, 96),
    resize=Resize(scale=(2048, 512), keep_ratio=True, min_size=640, multiple_of=32),
    pad=Pad(divisor=32),
    inference=Inference(mode="slide", crop_size=(64, 96), stride=(42, 42)),
    out_channels=1,
    activation="sigmoid",
    threshold=0.3,
    align_corners=True,
    reduce_zero_label=True,
    provenance=Provenance(config="c.py", config_sha256="00"),
    versions={"torch": "2.13.0"},
    verification={"passed": True},
    extra={"onnx": {"opset": 18}},
)


@pytest.mark.parametrize("meta", [FULL, ModelMeta(name="bare")])
def test_round_trip(meta: ModelMeta) -> None:
    assert ModelMeta.from_json(meta.to_json()) == meta


def test_a_field_of_a_later_minor_version_is_ignored() -> None:
    data = FULL.to_dict() | {"brand_new": 1}
    assert ModelMeta.from_dict(data) == FULL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(FULL.to_dict() | {"schema_version": 99}), "upgrade segplug"),
        (json.dumps({"name": "x"}), "no schema version"),
        (json.dumps({"schema_version": 1}), "malformed"),
        (json.dumps({"schema_version": 1, "name": "x", "resize": {"wrong": 1}}), "malformed"),
        ("{", "no JSON"),
        ("[]", "no JSON object"),
    ],
)
def test_damaged_metadata_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ModelMeta.from_json(text)


def test_a_binary_head_has_two_classes() -> None:
    assert ModelMeta(name="x", out_channels=1).num_classes == 2
    assert ModelMeta(name="x", out_channels=19).num_classes == 19


def test_what_anybody_may_see_names_no_folder() -> None:
    provenance = Provenance("C:\\me\\config.py", "ab", "https://h/data/w.pth?token=x", "cd")
    meta = ModelMeta(name="m", classes=("a",), provenance=provenance, extra={"mmseg": {"root": "/data"}})
    shown = meta.public()
    assert shown.provenance == Provenance("config.py", "ab", "w.pth", "cd")
    assert not [text for text in ("/", "\\\\", "token") if text in shown.to_json()]
    assert ModelMeta(name="m").public() == ModelMeta(name="m")
