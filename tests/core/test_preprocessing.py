"""Steps of preprocessing go through JSON unchanged; wrong ones are refused in one line that names them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from segplug.errors import ArtifactError
from segplug.model import ModelMeta
from segplug.preprocessing import (
    STEPS,
    ChannelOrder,
    Convert,
    Crop,
    Decoding,
    Flip,
    Normalize,
    Pad,
    Resize,
    Scale,
    Step,
    check_channels,
    find_steps,
    steps_from_data,
    usual_steps,
)

FULL: dict[str, Step] = {
    "convert": Convert("float32"),
    "resize": Resize(
        scale=(2048, 512),
        fit="inside",
        ratio=1.5,
        min_size=640,
        multiple_of=32,
        algorithm="pillow",
        filter="lanczos",
    ),
    "crop": Crop((224, 192), longer="start"),
    "flip": Flip("vertical"),
    "pad": Pad(size=(64, 96), value=(1.5, -2.0, 3.25), cut=False),
    "channel_order": ChannelOrder((1, 2, 0)),
    "scale": Scale(factor=10000.0, operation="multiply", dtype="float64"),
    "normalize": Normalize((123.675, 0.1, -5.0), (58.395, 1e-3, 7.0), arithmetic="division"),
}
"""Of each kind one step, whose fields all differ from the defaults."""
ALONE = {
    "resize.factors": Resize(factors=(0.5, 1.5), fit="inside"),
    "resize.rounding": Resize((640, 480), fit="inside", rounding="down"),
    "resize.half_even": Resize((640, 480), fit="inside", rounding="half_even"),
    "resize.multiple": Resize((640, 480), fit="closest", multiple_of=14, multiple="nearest"),
    "resize.max_size": Resize((640, 480), fit="shortest", max_size=2560),
    "pad.divisor": Pad(divisor=8),
    "pad.square": Pad(square=True, divisor=8),
    "pad.centred": Pad(divisor=8, centred=True),
}
"""The fields that do not go together with others of :data:`FULL`."""


def _read(*entries: Any) -> tuple[Step, ...]:
    return steps_from_data(json.loads(json.dumps(list(entries))), "steps", "the test")


def test_every_kind_of_step_is_tested_with_every_field() -> None:
    assert set(FULL) == set(STEPS)
    for name, step in FULL.items():
        assert type(step) is STEPS[name]
        for field in dataclasses.fields(step):  # type: ignore[arg-type]
            full = f"{name}.{field.name}"
            if full != "convert.dtype":  # which can be no other
                assert getattr(ALONE.get(full, step), field.name) != field.default, f"{full} is the default"


@pytest.mark.parametrize("step", [*FULL.values(), *ALONE.values()])
def test_round_trip(step: Step) -> None:
    data = json.loads(json.dumps(step.to_dict()))
    assert data["step"] == step.name
    assert _read(data) == (step,)


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"normalize", "pad", "crop"}))
def test_fields_that_are_not_there_have_their_defaults(name: str) -> None:
    assert _read({"step": name}) == (STEPS[name](),)


def test_the_order_is_kept_also_of_equal_steps() -> None:
    steps = (Flip(), Pad(divisor=8), Normalize((1,), (2,)), Pad(divisor=32), Flip(), Pad(divisor=8))
    assert _read(*(step.to_dict() for step in steps)) == steps


def test_views_go_through_json_with_those_that_count_twice() -> None:
    view = (Resize((64, 48)), Normalize((0.0,) * 3, (1.0,) * 3))
    meta = ModelMeta("m", preprocessing=view, tta=(view, (*view, Flip()), view, (*view, Flip())))
    assert ModelMeta.from_json(meta.to_json()) == meta
    assert [step["step"] for step in meta.to_dict()["tta"][1]] == ["resize", "normalize", "flip"]


NAN, INFINITY = float("nan"), float("inf")
NORMAL = {"step": "normalize", "mean": [1, 2, 3], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("flip", "[1]: an object is expected"),
        ({}, f"[1].step: one of {', '.join(STEPS)} is expected"),
        ({"step": "cut"}, f"[1].step: one of {', '.join(STEPS)} is expected"),
        ({"step": "crop"}, "[1] has no size"),
        (
            {"step": "crop", "size": [8, 0]},
            "[1] is wrong at size[1]: a whole number of at least 1 is expected, not 0",
        ),
        (
            {"step": "crop", "size": [8, 8], "longer": "left"},
            '[1] is wrong at longer: "end" or "start" is expected, not the text "left"',
        ),
        ({"step": ["flip"]}, f"[1].step: one of {', '.join(STEPS)} is expected"),
        ({"step": "flip", "angle": 90}, "[1]: 'angle' is none of direction"),
        ({"step": "scale", "factr": 2}, "[1]: 'factr' is none of factor, operation, dtype"),
        ({"step": "normalize", "mean": [1]}, "[1] has no std"),
        (
            NORMAL | {"mean": [1, NAN, 3]},
            "[1] is wrong at mean[1]: a finite number is expected, not NaN",
        ),
        (
            NORMAL | {"mean": [1, 2, -INFINITY]},
            "[1] is wrong at mean[2]: a finite number is expected, not -Infinity",
        ),
        (NORMAL | {"mean": 1}, "[1] is wrong at mean: a list is expected, not 1"),
        (
            NORMAL | {"mean": [1, "2", 3]},
            '[1] is wrong at mean[1]: a finite number is expected, not the text "2"',
        ),
        (
            NORMAL | {"mean": [1, True, 3]},
            "[1] is wrong at mean[1]: a finite number is expected, not true",
        ),
        (
            NORMAL | {"std": [1, 1, 0]},
            "[1] is wrong at std[2]: a finite number above 0 is expected, not 0",
        ),
        (
            NORMAL | {"std": [1, -1.5, 1]},
            "[1] is wrong at std[1]: a finite number above 0 is expected, not -1.5",
        ),
        (
            NORMAL | {"std": [NAN, 1, 1]},
            "[1] is wrong at std[0]: a finite number above 0 is expected, not NaN",
        ),
        (
            NORMAL | {"std": [INFINITY, 1, 1]},
            "[1] is wrong at std[0]: a finite number above 0 is expected, not Infinity",
        ),
        (NORMAL | {"std": [1, 1]}, "[1]: mean has 3 values, std 2"),
        (
            NORMAL | {"arithmetic": "fast"},
            '[1] is wrong at arithmetic: "division" or "reciprocal" is expected, not the text "fast"',
        ),
        (
            {"step": "scale", "factor": 0},
            "[1] is wrong at factor: a finite number above 0 is expected, not 0",
        ),
        (
            {"step": "resize", "scale": [1, -1]},
            "[1] is wrong at scale[1]: a whole number of at least 1 is expected, not -1",
        ),
        (
            {"step": "resize", "scale": [1]},
            "[1] is wrong at scale: a list of 2 or null is expected, not a list of 1",
        ),
        (
            {"step": "resize", "ratio": 0},
            "[1] is wrong at ratio: a finite number above 0 is expected, not 0",
        ),
        (
            {"step": "resize", "min_size": 0},
            "[1] is wrong at min_size: a whole number of at least 1 or null is expected, not 0",
        ),
        (
            {"step": "resize", "fit": "keep"},
            '[1] is wrong at fit: "closest" or "exact" or "inside" or "shortest" is expected, not the text '
            '"keep"',
        ),
        ({"step": "resize", "filter": "box"}, "[1]: opencv has no filter 'box'"),
        (
            {"step": "resize", "filter": "area", "algorithm": "pillow"},
            "[1]: pillow has no filter 'area'",
        ),
        (
            {"step": "resize", "filter": "hamming", "algorithm": "torchvision"},
            "[1]: torchvision has no filter 'hamming'",
        ),
        (
            {"step": "resize", "scale": [8, 8], "factors": [1, 1]},
            "[1]: factors stand in place of scale and ratio",
        ),
        (
            {"step": "resize", "factors": [1, 0]},
            "[1] is wrong at factors[1]: a finite number above 0 is expected, not 0",
        ),
        *(
            (
                {"step": "resize", "scale": [8, 8], "fit": "shortest", "max_size": 9} | other,
                "[1]: max_size needs a scale, fit 'shortest', and no min_size",
            )
            for other in ({"scale": None}, {"fit": "inside"}, {"min_size": 4})
        ),
        (
            {"step": "resize", "scale": [8, 8], "fit": "inside", "rounding": "down", "min_size": 4},
            "[1]: min_size needs rounding 'half_up'",
        ),
        *(
            (
                {"step": "resize", "scale": [8, 8], "fit": fit, "rounding": "half_even"},
                "[1]: rounding 'half_even' needs fit 'inside'",
            )
            for fit in ("exact", "shortest")
        ),
        *(
            (
                {"step": "resize", "multiple": "nearest", "multiple_of": 14} | other,
                "[1]: multiple 'nearest' needs a scale, and fit 'exact' or 'closest'",
            )
            for other in ({}, {"scale": [8, 8], "fit": "inside"}, {"scale": [8, 8], "fit": "shortest"})
        ),
        (
            {"step": "resize", "scale": [8, 8], "fit": "closest"},
            "[1]: fit 'closest' needs multiple 'nearest'",
        ),
        *(
            (
                {"step": "normalize", "mean": [1, 2, 3], "std": [1, 1, 1]} | values,
                "[1]: mean and std hold a number that float32 cannot hold",
            )
            for values in ({"std": [1, 1e300, 1]}, {"std": [1e-300, 1, 1]}, {"mean": [1, -1e39, 1]})
        ),
        ({"step": "scale", "factor": 1e300}, "[1]: factor is a number that float32 cannot hold"),
        ({"step": "pad"}, "[1]: exactly one of size and divisor is expected, or square"),
        *(
            (
                {"step": "pad", "size": [8, 8]} | other,
                "[1]: exactly one of size and divisor is expected, or square",
            )
            for other in ({"divisor": 8}, {"square": True})
        ),
        (
            {"step": "pad", "divisor": True},
            "[1] is wrong at divisor: a whole number of at least 1 or null is expected, not true",
        ),
        (
            {"step": "pad", "divisor": 8, "value": [0, NAN, 0]},
            "[1] is wrong at value[1]: a finite number is expected, not NaN",
        ),
        ({"step": "pad", "divisor": 8, "value": 5}, "[1] is wrong at value: a list is expected, not 5"),
        ({"step": "channel_order", "order": [0, 0, 1]}, "[1]: every channel once is expected"),
        ({"step": "channel_order", "order": [1, 2, 3]}, "[1]: every channel once is expected"),
        (
            {"step": "channel_order", "order": [2, 1, -1]},
            "[1] is wrong at order[2]: a whole number of at least 0 is expected, not -1",
        ),
    ],
)
def test_a_wrong_step_is_named(entry: Any, message: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        _read({"step": "flip"}, entry)
    said = str(raised.value)
    assert said.removeprefix("the test is wrong at steps").removeprefix("the test, steps") == message


@pytest.mark.parametrize("data", [None, 7, "flip", {"step": "flip"}])
def test_steps_are_a_list(data: Any) -> None:
    with pytest.raises(ArtifactError, match="the test is wrong at steps: a list of steps is expected"):
        steps_from_data(data, "steps", "the test")


def test_the_place_of_a_wrong_step_in_metadata_is_named() -> None:
    data = ModelMeta("m", tta=((Flip(),), (Flip(), Scale()))).to_dict()
    data["tta"][1][1]["factor"] = 0
    with pytest.raises(
        ArtifactError, match=r"^the model metadata, tta\[1\]\[1\] is wrong at factor: .*not 0$"
    ):
        ModelMeta.from_dict(data)
    data = ModelMeta("m", preprocessing=(Flip(), Scale())).to_dict()
    data["preprocessing"][1]["dtype"] = "float16"
    with pytest.raises(ArtifactError, match=r"^the model metadata, preprocessing\[1\] is wrong at dtype"):
        ModelMeta.from_dict(data)


@pytest.mark.parametrize(
    ("step", "field"),
    [
        (Normalize((1,) * 4, (1,) * 4), "mean"),
        (ChannelOrder((3, 2, 1, 0)), "order"),
        (Pad(divisor=8, value=(1,) * 4), "value"),
    ],
)
def test_steps_for_another_number_of_channels_are_named(step: Step, field: str) -> None:
    assert check_channels((Flip(), step), 4) is None
    said = check_channels((Flip(), step), 3)
    assert said == f"the {field} of step '{step.name}' has 4 values, the images have 3 channels"
    with pytest.raises(ArtifactError, match=f"wrong at preprocessing: {said}"):
        ModelMeta.from_dict(ModelMeta("m", preprocessing=(step,)).to_dict())
    with pytest.raises(ArtifactError, match=f"wrong at tta: {said}"):
        ModelMeta.from_dict(ModelMeta("m", tta=((), (step,))).to_dict())
    assert (
        ModelMeta.from_dict(ModelMeta("m", in_channels=4, preprocessing=(step,)).to_dict()).in_channels == 4
    )


@pytest.mark.parametrize("step", [Normalize((), ()), ChannelOrder(())])
def test_an_empty_list_is_no_list_of_one_value_for_each_channel(step: Step) -> None:
    assert str(check_channels((step,), 3)).endswith("has 0 values, the images have 3 channels")


def test_steps_without_values_fit_any_number_of_channels() -> None:
    steps = (Convert(), Resize((8, 8)), Crop((8, 8)), Flip(), Pad(divisor=8), Scale())
    assert all(check_channels(steps, channels) is None for channels in (1, 3, 13))


def test_the_usual_steps() -> None:
    resize, pad = Resize((8, 8)), Pad(divisor=32)
    mean, std = (1, 2, 3), (4, 5, 6)
    normal = Normalize((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert usual_steps(mean, std) == (ChannelOrder(), normal)
    assert usual_steps(mean, std, channel_order="bgr", resize=resize, pad=pad) == (resize, normal, pad)
    assert usual_steps(mean, std, resize=resize, pad=pad) == (resize, ChannelOrder(), normal, pad)
    # only three channels are colours
    assert usual_steps((1, 2, 3, 4), (1,) * 4) == (Normalize((1.0, 2.0, 3.0, 4.0), (1.0,) * 4),)
    assert usual_steps((7,), (2,)) == (Normalize((7.0,), (2.0,)),)


def test_steps_of_one_kind_are_found_in_order() -> None:
    first, second = Pad(divisor=8), Pad(divisor=32)
    assert find_steps((first, Flip(), second), Pad) == [first, second]
    assert find_steps((first, Flip(), second), Scale) == []


@pytest.mark.parametrize(
    ("decoding", "bgr"),
    [
        (Decoding(), True),
        (Decoding("pillow"), True),
        (Decoding("turbojpeg", "grayscale"), True),
        (Decoding(color="unchanged"), True),
        (Decoding("tifffile", "unchanged"), False),
        (Decoding("bands", "unchanged"), False),
        (Decoding(loader="LoadReflectance"), False),
    ],
)
def test_only_decoders_of_pictures_give_bgr(decoding: Decoding, bgr: bool) -> None:
    assert decoding.gives_bgr is bgr


@pytest.mark.parametrize(
    ("channels", "decoding"),
    [
        (1, Decoding("opencv", "grayscale")),
        (2, Decoding("bands", "unchanged")),
        (3, Decoding("opencv", "color")),
        (4, Decoding("bands", "unchanged")),
        (130, Decoding("bands", "unchanged")),
    ],
)
def test_the_usual_decoding_of_so_many_channels(channels: int, decoding: Decoding) -> None:
    assert Decoding.for_channels(channels) == decoding


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (FULL["convert"], "Convert to float32."),
        (
            FULL["resize"],
            "Resize to fit into 2048x512, keeping the ratio, the short edge at least 640, both edges raised "
            "to multiples of 32 (Pillow, lanczos).",
        ),
        (Resize(scale=(480, 360)), "Resize to 480x360 (width x height) (OpenCV, bilinear)."),
        (
            Resize(scale=(520, 520), fit="shortest"),
            "Resize the short edge to 520, keeping the ratio (OpenCV, bilinear).",
        ),
        (Resize(ratio=0.5), "Resize by 0.5 (OpenCV, bilinear)."),
        (Resize(factors=(2, 2)), "Resize by 2 (OpenCV, bilinear)."),
        (ALONE["resize.factors"], "Resize by 0.5 in width and 1.5 in height (OpenCV, bilinear)."),
        (
            ALONE["resize.max_size"],
            "Resize the short edge to 480, keeping the ratio, the long edge at most 2560 (OpenCV, bilinear).",
        ),
        (
            ALONE["resize.rounding"],
            "Resize to fit into 640x480 (width x height), keeping the ratio (OpenCV, bilinear).",
        ),
        (
            ALONE["resize.multiple"],
            "Resize to the width 640 or the height 480, the smaller change, keeping the ratio, both edges "
            "brought to the nearest multiples of 14 (OpenCV, bilinear).",
        ),
        (
            FULL["crop"],
            "Cut out the centre, 224x192 (height x width); the output covers the whole image.",
        ),
        (
            ALONE["pad.centred"],
            "Pad on all sides to multiples of 8 with 0.",
        ),
        (FULL["flip"], "Flip vertically; the output is flipped back."),
        (
            FULL["pad"],
            "Pad at the bottom and right to at least 64x96 (height x width) with 1.5 -2 3.25; the output "
            "keeps the padding.",
        ),
        (Pad(divisor=32), "Pad at the bottom and right to multiples of 32 with 0."),
        (Pad(square=True), "Pad at the bottom and right to a square with 0."),
        (ALONE["pad.square"], "Pad at the bottom and right to a square of multiples of 8 with 0."),
        (FULL["channel_order"], "Reorder the channels: 2 3 1."),
        (ChannelOrder(), "Reverse the channels (BGR to RGB)."),
        (FULL["scale"], "Multiply by 10000."),
        (Scale(1 / 255, "multiply"), "Multiply by 1/255."),
        (Scale(0.01234, "multiply"), "Multiply by 0.01234."),
        (Scale(5e-324), "Divide by 4.94066e-324."),
        (Normalize((127.5,) * 3, (127.5,) * 3), "Subtract 127.5, divide by 127.5."),
        (Normalize((1.0, 2.0), (3.0, 4.5)), "Subtract 1 2, divide by 3 4.5."),
    ],
)
def test_steps_in_words(step: Step, words: str) -> None:
    assert step.in_words() == words


def test_every_kind_of_step_has_words() -> None:
    for step in FULL.values():
        assert step.in_words().endswith(".")


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        (Decoding(), "Read with OpenCV, 8-bit BGR."),
        (Decoding(library="pillow", color="grayscale"), "Read with Pillow, 8-bit grey."),
        (Decoding(color="unchanged"), "Read with OpenCV, as in the file."),
        (Decoding(color="color_ignore_orientation"), "Read with OpenCV, 8-bit BGR, not turned by EXIF."),
        (Decoding(library="tifffile"), "Read TIFF with tifffile, type unchanged."),
        (Decoding(library="bands"), "Read all channels in the file's order, type unchanged."),
        (
            Decoding(loader="LoadScan"),
            "Read with the loader 'LoadScan' of the model's own code, or from .npy.",
        ),
    ],
)
def test_decoding_in_words(decoding: Decoding, words: str) -> None:
    assert decoding.in_words() == words
