"""Metadata goes through JSON unchanged; wrong values and newer schemas are refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segplug import model
from segplug.errors import ArtifactError
from segplug.model import Inference, InputLimits, ModelMeta, Provenance
from segplug.older_metadata import UPGRADES
from segplug.preprocessing import Decoding, Flip, Normalize, Pad, Resize, Scale, usual_steps

FULL = ModelMeta(
    name="unet",
    classes=("background", "vessel"),
    palette=((120, 120, 120), (6, 230, 230)),
    decoding=Decoding("pillow"),
    preprocessing=usual_steps(
        (123.675, 116.28, 103.53),
        (58.395, 57.12, 57.375),
        resize=Resize(scale=(2048, 512), fit="inside", min_size=640, multiple_of=32),
        pad=Pad(divisor=32),
    ),
    tta=((Normalize((1.0,) * 3, (2.0,) * 3),), (Flip(), Normalize((1.0,) * 3, (2.0,) * 3))),
    tta_by_default=False,
    tta_activates=True,
    approximations=("step 'CLAHE' is left out",),
    input_size=(64, 96),
    inference=Inference(mode="slide", crop_size=(64, 96), stride=(42, 42)),
    out_channels=1,
    output_stride=4,
    scores="probabilities",
    activation="sigmoid",
    threshold=0.3,
    align_corners=True,
    reduce_zero_label=True,
    provenance=Provenance(config="c.py", config_sha256="00"),
    versions={"torch": "2.13.0"},
    verification={"passed": True},
    extra={"onnx": {"opset": 18}},
)


METAS = {
    "full": FULL,
    "bare": ModelMeta(name="bare"),
    "several classes": ModelMeta(
        name="m", classes=("a", "b", "c"), palette=((0, 0, 0), (0, 255, 0), (9, 9, 9)), out_channels=3
    ),
    "colours without names": ModelMeta(name="m", palette=((0, 0, 0), (1, 1, 1)), out_channels=2),
    "integers for numbers": ModelMeta(
        name="m", preprocessing=(Normalize((0, -1, 127), (1, 255, 1)), Pad((8, 8), value=(0, 0, 0)), Scale(2))
    ),
    "thirteen channels": ModelMeta(
        name="m",
        in_channels=13,
        decoding=Decoding.for_channels(13),
        preprocessing=usual_steps((1,) * 13, (2,) * 13),
    ),
    "one size": ModelMeta(name="m", input_limits=InputLimits((32, 64), 32, (32, 64))),
    "an edge without limit": ModelMeta(name="m", preprocessing=(Resize((2**31 - 1, 512), "inside"),)),
    "its own size times a ratio": ModelMeta(name="m", preprocessing=(Resize(ratio=0.5),)),
    "a window that is not used": ModelMeta(name="m", inference=Inference("whole", (8, 8))),
    "windows that lie evenly": ModelMeta(name="m", inference=Inference("slide", (8, 8), placement="even")),
    "scores of one size": ModelMeta(name="m", output_size=(384, 384), output_antialias=True, out_channels=3),
    "labels from the corners of pixels": ModelMeta(name="m", label_resize="nearest"),
    "a comparison that failed": ModelMeta(
        name="m", verification={"passed": False, "relative_difference": float("inf"), "worst_pixel": None}
    ),
}


@pytest.mark.parametrize("meta", METAS.values(), ids=METAS)
def test_round_trip(meta: ModelMeta) -> None:
    assert ModelMeta.from_dict(meta.to_dict()) == meta
    assert ModelMeta.from_json(meta.to_json()) == meta


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("brand_new", "it cannot have: 'brand_new'"),
        ("std", "it cannot have: 'std'"),
        ("preprocesing", "it cannot have: 'preprocesing'; did you mean 'preprocessing'?"),
        ("output_strides", "it cannot have: 'output_strides'; did you mean 'output_stride'?"),
    ],
)
def test_an_entry_that_the_schema_does_not_have_is_refused(key: str, message: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        ModelMeta.from_dict(FULL.to_dict() | {key: 1})
    assert raised.value.message.endswith(message)


def test_fields_that_are_not_there_have_their_defaults() -> None:
    data = {"schema_version": 2, "name": "m", "inference": {}}
    assert ModelMeta.from_dict(data) == ModelMeta(name="m")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("name", None, "name: text is expected, not null"),
        ("name", ["m"], "name: text is expected, not a list of 1"),
        ("classes", "road", 'classes: a list is expected, not the text "road"'),
        ("classes", ["road", 1], "classes[1]: text is expected, not 1"),
        ("palette", [[1, 2, 3], [4, 5]], "palette[1]: a list of 3 is expected, not a list of 2"),
        (
            "palette",
            [[1, 2, 3], [4, 5, 256]],
            "palette[1][2]: a whole number from 0 to 255 is expected, not 256",
        ),
        (
            "palette",
            [[1, 2, 3], [4, -5, 6]],
            "palette[1][1]: a whole number from 0 to 255 is expected, not -5",
        ),
        (
            "palette",
            [[1, 2, 0.5], [4, 5, 6]],
            "palette[0][2]: a whole number from 0 to 255 is expected, not 0.5",
        ),
        ("palette", [[1, 2, 3]], "palette: it has 1 colour for 2 classes"),
        ("in_channels", 0, "in_channels: a whole number of at least 1 is expected, not 0"),
        ("in_channels", 3.0, "in_channels: a whole number of at least 1 is expected, not 3.0"),
        (
            "in_channels",
            4,
            "preprocessing: the order of step 'channel_order' has 3 values, the images have 4 channels",
        ),
        (
            "decoding",
            {"library": "gdal"},
            'decoding.library: "bands" or "opencv" or "pillow" or "tifffile" or "turbojpeg" is expected, '
            'not the text "gdal"',
        ),
        ("decoding", {"colour": "color"}, 'decoding: "colour" is none of library, color, loader'),
        ("decoding", None, "decoding: an object is expected, not null"),
        ("tta", None, "tta: a list of views is expected"),
        ("tta", "flip", "tta: a list of views is expected"),
        ("tta", [{"step": "flip"}], "tta[0]: a list of steps is expected"),
        (
            "tta",
            [[], [{"step": "normalize", "mean": [1], "std": [1]}]],
            "tta: the mean of step 'normalize' has 1 value, the images have 3 channels",
        ),
        ("approximations", "none", 'approximations: a list is expected, not the text "none"'),
        ("output_stride", 0, "output_stride: a whole number of at least 1 is expected, not 0"),
        ("output_size", 384, "output_size: a list of 2 or null is expected, not 384"),
        ("output_size", [384, 0], "output_size[1]: a whole number of at least 1 is expected, not 0"),
        ("output_size", [8, 8], "output_stride: scores of one size have no stride: 1 is expected, not 4"),
        ("output_antialias", 1, "output_antialias: true or false is expected, not 1"),
        (
            "label_resize",
            "area",
            'label_resize: "nearest" or "nearest_exact" or "opencv" is expected, not the text "area"',
        ),
        ("output_antialias", True, "output_antialias: an antialiased resize does not align corners"),
        ("scores", "softmax", 'scores: "logits" or "probabilities" is expected, not the text "softmax"'),
        ("input_size", 64, "input_size: a list of 2 or null is expected, not 64"),
        ("input_size", [0, 64], "input_size[0]: a whole number of at least 1 is expected, not 0"),
        ("input_size", [64, 64.0], "input_size[1]: a whole number of at least 1 is expected, not 64.0"),
        ("inference", None, "inference: an object is expected, not null"),
        (
            "inference",
            {"mode": "tiles"},
            'inference.mode: "slide" or "whole" is expected, not the text "tiles"',
        ),
        ("inference", {"mode": "slide", "crop_size": [8, 8]}, "inference: slide needs crop_size and stride"),
        ("inference", {"mode": "slide", "stride": [8, 8]}, "inference: slide needs crop_size and stride"),
        (
            "inference",
            {"mode": "slide", "crop_size": [8, 8], "stride": [8, 9]},
            "inference.stride: [8, 9] is larger than the crop_size, [8, 8]",
        ),
        (
            "inference",
            {"placement": "even"},
            "inference.placement: even is for windows, and the mode is whole",
        ),
        (
            "inference",
            {"mode": "slide", "placement": "even", "crop_size": [8, 8], "stride": [8, 8]},
            "inference: windows that lie evenly need crop_size and no stride",
        ),
        (
            "inference",
            {"mode": "slide", "placement": "even"},
            "inference: windows that lie evenly need crop_size and no stride",
        ),
        (
            "inference",
            {"mode": "slide", "placement": "odd", "crop_size": [8, 8]},
            'inference.placement: "even" or "stride" is expected, not the text "odd"',
        ),
        (
            "inference",
            {"crop_size": [8, 8], "stride": [0, 8]},
            "inference.stride[0]: a whole number of at least 1 is expected, not 0",
        ),
        (
            "input_limits",
            {"minimum": [32, 32], "maximum": [64, 31]},
            "input_limits.maximum: [64, 31] is smaller than the minimum, [32, 32]",
        ),
        (
            "input_limits",
            {"multiple_of": 0},
            "input_limits.multiple_of: a whole number of at least 1 is expected, not 0",
        ),
        ("out_channels", -1, "out_channels: a whole number of at least 0 is expected, not -1"),
        (
            "out_channels",
            3,
            "reduce_zero_label: the masks of several classes at one pixel have no label 0 to ignore",
        ),
        ("activation", None, 'activation: "sigmoid" or "softmax" is expected, not null'),
        ("threshold", "0.5", 'threshold: a finite number or null is expected, not the text "0.5"'),
        ("align_corners", "yes", 'align_corners: true or false is expected, not the text "yes"'),
        ("reduce_zero_label", 0, "reduce_zero_label: true or false is expected, not 0"),
        ("provenance", {"config": 1}, "provenance.config: text or null is expected, not 1"),
        (
            "provenance",
            {"author": "x"},
            'provenance: "author" is none of config, config_sha256, checkpoint, checkpoint_sha256',
        ),
        ("versions", ["torch"], "versions: an object is expected, not a list of 1"),
        ("versions", {"torch": 2.13}, "versions: text is expected for every name"),
        ("verification", True, "verification: an object or null is expected, not true"),
        ("verification", {}, "verification.passed: true or false is expected"),
        ("verification", {"passed": 1}, "verification.passed: true or false is expected"),
        ("extra", None, "extra: an object is expected, not null"),
        ("schema_version", 0, "schema_version: a whole number of at least 1 is expected, not 0"),
        ("schema_version", True, "schema_version: a whole number of at least 1 is expected, not true"),
        ("schema_version", 1.0, "schema_version: a whole number of at least 1 is expected, not 1.0"),
        ("schema_version", "1", 'schema_version: a whole number of at least 1 is expected, not the text "1"'),
    ],
)
def test_a_wrong_value_is_named(place: str, value: object, message: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        ModelMeta.from_json(json.dumps(FULL.to_dict() | {place: value}))
    assert str(raised.value) == f"the model metadata is wrong at {message}"


def test_a_wrong_value_is_shown_short_and_on_one_line() -> None:
    with pytest.raises(ArtifactError) as raised:
        ModelMeta.from_dict(FULL.to_dict() | {"threshold": "\x1b[2J\n\x9b" + "x" * 1000})
    message = str(raised.value)
    assert message.isprintable()
    assert len(message) < 160
    assert '"\\u001b[2J\\n\\u009bxxx' in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"name": "x"}), "the model metadata has no schema_version"),
        (json.dumps({"schema_version": 1}), "the model metadata has no name"),
        ("[]", "the model metadata is wrong: an object is expected, not a list of 0"),
        ("{", "the model metadata is no JSON: Expecting property name"),
        ("[" * 100_000, "the model metadata is no JSON: maximum recursion depth"),
    ],
)
def test_what_is_no_metadata_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        ModelMeta.from_json(text)
    assert str(raised.value).startswith(message)


def test_a_newer_schema_is_refused_whatever_else_it_has() -> None:
    with pytest.raises(ArtifactError) as raised:
        ModelMeta.from_dict({"schema_version": model.SCHEMA_VERSION + 1, "tta": "another meaning"})
    assert raised.value.hint == "upgrade segplug"
    assert raised.value.message == (
        f"the model metadata has schema {model.SCHEMA_VERSION + 1}, "
        f"this segplug reads up to {model.SCHEMA_VERSION}"
    )


def test_an_older_schema_is_read_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields are renamed by one step, and changed by the next."""

    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {key.replace("label", "name"): value for key, value in data.items()}

    def in_capitals(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"name": data["name"].upper()}

    current = model.SCHEMA_VERSION
    monkeypatch.setattr(model, "SCHEMA_VERSION", current + 2)
    monkeypatch.setitem(UPGRADES, current, renamed)
    monkeypatch.setitem(UPGRADES, current + 1, in_capitals)
    old = {"schema_version": current, "label": "m", "out_channels": 3}
    meta = ModelMeta.from_json(json.dumps(old))
    assert meta == ModelMeta(name="M", out_channels=3, schema_version=current + 2)
    assert ModelMeta.from_dict(meta.to_dict()) == meta
    with pytest.raises(ArtifactError, match="wrong at out_channels"):
        ModelMeta.from_dict(old | {"out_channels": "3"})


def test_every_older_schema_has_its_step() -> None:
    assert set(UPGRADES) == set(range(1, model.SCHEMA_VERSION))


@pytest.mark.parametrize(
    ("meta", "classes", "labels", "names"),
    [
        (ModelMeta("x", out_channels=1), 2, 2, ()),
        (ModelMeta("x", out_channels=19), 19, 19, ()),
        (ModelMeta("x", classes=("a", "b", "c"), out_channels=3), 3, 3, ("a", "b", "c")),
        (ModelMeta("x", classes=("a", "b", "c")), 3, 3, ("a", "b", "c")),
        (ModelMeta("x", classes=("road", "car"), out_channels=1), 2, 2, ("road", "car")),
        # mmseg's model of one class: its label is 1, all else is 0
        (ModelMeta("x", classes=("vessel",), out_channels=1), 1, 2, ("background", "vessel")),
        (ModelMeta("x"), 0, 0, ()),
    ],
)
def test_a_head_of_one_channel_has_two_labels_whatever_its_classes(meta, classes, labels, names) -> None:
    assert (meta.num_classes, meta.num_labels, meta.label_names) == (classes, labels, names)


def test_a_model_of_one_class_has_one_colour() -> None:
    meta = ModelMeta("x", classes=("vessel",), palette=((9, 9, 9),), out_channels=1)
    assert ModelMeta.from_dict(meta.to_dict()) == meta
    with pytest.raises(ArtifactError, match="palette: it has 2 colours for 1 class"):
        ModelMeta.from_dict(meta.to_dict() | {"palette": [[0, 0, 0], [9, 9, 9]]})


def test_a_threshold_is_for_sigmoid() -> None:
    with pytest.raises(
        ArtifactError, match="wrong at threshold: with softmax it is for out_channels 1, not 3"
    ):
        ModelMeta.from_dict(ModelMeta("m", out_channels=3, threshold=0.5).to_dict())


def test_what_anybody_may_see_names_no_folder() -> None:
    provenance = Provenance("C:\\me\\config.py", "ab", "https://h/data/w.pth?token=x", "cd")
    meta = ModelMeta(name="m", classes=("a",), provenance=provenance, extra={"mmseg": {"root": "/data"}})
    shown = meta.public()
    assert shown.provenance == Provenance("config.py", "ab", "w.pth", "cd")
    assert not [text for text in ("/", "\\\\", "token") if text in shown.to_json()]
    assert ModelMeta(name="m").public() == ModelMeta(name="m")


def test_scores_of_one_size_are_no_larger_than_an_input() -> None:
    with pytest.raises(ArtifactError, match="output_size"):
        ModelMeta.from_dict(ModelMeta("m", out_channels=3, output_size=(1 << 20, 1 << 20)).to_dict())


@pytest.mark.parametrize(
    ("meta", "size", "scores"),
    [
        (ModelMeta("m"), (45, 61), (45, 61)),
        (ModelMeta("m", output_stride=4), (45, 61), (12, 16)),
        (ModelMeta("m", output_size=(384, 384)), (45, 61), (384, 384)),
    ],
)
def test_the_size_of_the_scores(meta, size, scores) -> None:
    assert meta.scores_size(size) == scores


def test_how_windows_lie_and_which_size_scores_have_is_said() -> None:
    meta = ModelMeta("m", out_channels=3, output_size=(384, 512), output_antialias=True)
    facts = dict(meta.replace(inference=Inference("slide", (64, 96), placement="even")).facts())
    assert facts["inference"] == (
        "on sliding windows of 64x96 (height x width), as few as cover the image, evenly placed",
    )
    assert facts["scores"] == (
        "logits, 3 channels, 384x512 (height x width) whatever the input's size, resized to the image with "
        "antialiasing, softmax still to be applied",
    )
