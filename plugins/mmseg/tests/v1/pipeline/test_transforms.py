"""Transforms as steps; what segplug cannot do, and what mmseg refuses, is named."""

from __future__ import annotations

from typing import Any

import pytest
from mmseg_support.pipelines1 import LOAD, OWN, PACK, Notes, config_of, read, steps_of
from segplug_mmseg.compat import import_mmseg

from segplug.errors import ModelError
from segplug.preprocessing import (
    ChannelOrder,
    Convert,
    Decoding,
    Flip,
    Normalize,
    Pad,
    Resize,
)

INSIDE = {"type": "Resize", "scale": (64, 48), "keep_ratio": True}
RESIZED = Resize((64, 48), "inside")
NO_NORM = {"type": "SegDataPreProcessor"}


def resize(**settings: Any) -> dict[str, Any]:
    return {"type": "Resize", **settings}


def classes() -> dict[str, Any]:
    import_mmseg()
    from mmseg.datasets import transforms

    return {"type": transforms.Resize, "scale": (64, 48), "keep_ratio": True}


@pytest.mark.parametrize("name", ["Resize", "mmseg.Resize", "mmcv.Resize", "mmcv.transforms.Resize"])
def test_names_with_and_without_scopes(name: str) -> None:
    assert steps_of(INSIDE | {"type": name}, PACK) == (RESIZED,)


def test_classes_in_place_of_names() -> None:
    assert steps_of(classes(), PACK) == (RESIZED,)


@pytest.mark.parametrize(
    ("transforms", "steps"),
    [
        ([resize(scale=64)], (Resize((64, 64)),)),
        ([resize(scale=(64, 48), scale_factor=0.5)], (Resize((64, 48)),)),
        ([resize(scale=(float("inf"), 48), keep_ratio=True)], (Resize((2**31 - 1, 48), "inside"),)),
        ([resize(scale_factor=1.0)], ()),
        ([resize(scale_factor=(0.5, 2), keep_ratio=True)], (Resize(factors=(0.5, 2.0), fit="inside"),)),
        (
            [resize(scale=8, backend="pillow", clip_object_border=False)],
            (Resize((8, 8), algorithm="pillow"),),
        ),
        (
            [{"type": "ResizeShortestEdge", "scale": (640, 700), "max_size": 2560}],
            (Resize((640, 640), "shortest", max_size=2560),),
        ),
        ([{"type": "ResizeToMultiple", "size_divisor": 16}], (Resize(multiple_of=16),)),
        ([{"type": "Pad", "size": (40, 30), "pad_val": 7}], (Pad((30, 40), value=(7,) * 3, cut=False),)),
        (
            [{"type": "Pad", "size_divisor": 8, "pad_val": {"img": (1, 2, 3)}}],
            (Pad(divisor=8, value=(1, 2, 3), cut=False),),
        ),
        ([{"type": "Pad", "pad_to_square": True}], (Pad(square=True, cut=False),)),
        (
            [{"type": "RandomResize", "scale": (100, 60), "ratio_range": (0.55, 0.55), "keep_ratio": True}],
            (Resize((55, 33), "inside"),),
        ),
        ([{"type": "RandomResize", "scale": [(40, 30), (40, 30)]}], (Resize((40, 30)),)),
        ([{"type": "RandomChoiceResize", "scales": [(40, 30)]}], (Resize((40, 30)),)),
        (
            [
                {
                    "type": "RandomChoiceResize",
                    "scales": [48],
                    "resize_type": "ResizeShortestEdge",
                    "max_size": 99,
                }
            ],
            (Resize((48, 48), "shortest", max_size=99),),
        ),
        (
            [
                {"type": "RandomFlip", "prob": 0.0},
                {"type": "RandomFlip", "prob": [1.0], "direction": ["vertical"]},
            ],
            (Flip("vertical"),),
        ),
        ([{"type": "RandomFlip", "prob": [0.0, 1.0], "direction": ["vertical", "horizontal"]}], (Flip(),)),
        (
            [{"type": "Compose", "transforms": [INSIDE, {"type": "RandomFlip", "prob": 1.0}]}],
            (RESIZED, Flip()),
        ),
        (
            [
                {"type": "LoadAnnotations", "reduce_zero_label": True},
                {"type": "GenerateEdge"},
                {"type": "RandomRotate", "prob": 0.0, "degree": 10},
                {"type": "RandomCutOut", "prob": 0, "n_holes": 1, "cutout_shape": (4, 4)},
            ],
            (),
        ),
    ],
)
def test_steps(transforms: list[Any], steps: tuple[Any, ...]) -> None:
    assert steps_of(*transforms, PACK) == steps


def test_the_data_preprocessor_comes_last_and_in_float32() -> None:
    numbers = {
        "mean": [1, 2.5, 3],
        "std": [4],
        "bgr_to_rgb": True,
        "test_cfg": {"size": (8, 9)},
        "pad_val": 2,
    }
    assert steps_of(INSIDE, PACK, after=NO_NORM | numbers) == (
        RESIZED,
        ChannelOrder((2, 1, 0)),
        Normalize((1, 2.5, 3), (4, 4, 4), arithmetic="division"),
        Pad((8, 9), value=(2, 2, 2)),
    )
    plain = NO_NORM | {"size": (8, 8), "test_cfg": {"size_divisor": 8}, "pad_val": -1}
    assert steps_of(PACK, after=plain) == (Convert(), Pad(divisor=8, value=(-1,) * 3))
    assert steps_of(PACK, after=plain | {"pad_val": 0}) == (Pad(divisor=8),)
    assert steps_of(PACK, after=NO_NORM | {"size": (8, 8), "batch_augments": [{"type": "Nope"}]}) == ()


def test_other_data_preprocessors() -> None:
    numbers = {"mean": [1], "std": [2], "bgr_to_rgb": True}
    normal = (ChannelOrder((2, 1, 0)), Normalize((1,) * 3, (2,) * 3, arithmetic="division"))
    for name in ("mmengine.ImgDataPreprocessor", "mmdet.DetDataPreprocessor"):
        assert steps_of(PACK, after={"type": name, **numbers}) == normal
    padded = {"type": "mmdet.DetDataPreprocessor", **numbers, "pad_size_divisor": 32}
    assert steps_of(PACK, after=padded) == (*normal, Pad(divisor=32, cut=False))
    assert steps_of(PACK, after={"type": "BaseDataPreprocessor"}) == ()
    squeezed = {"type": "ImgDataPreprocessor", **numbers, "pad_size_divisor": 32}
    with pytest.raises(ModelError, match="ImgDataPreprocessor with a pad_size_divisor, and mmseg squeezes"):
        steps_of(PACK, after=squeezed)
    assert steps_of(PACK, after=squeezed, approximate=True) == (*normal, Pad(divisor=32))


def test_padding_that_maskformers_head_does_not_know_of() -> None:
    config = config_of(INSIDE, PACK, after=NO_NORM | {"test_cfg": {"size_divisor": 32}})
    padded = (RESIZED, Pad(divisor=32))
    for kind, mode, refused in (
        ("MaskFormerHead", "whole", True),
        ("MaskFormerHead", "slide", False),
        ("Mask2FormerHead", "whole", False),
    ):
        config["model"] |= {"decode_head": {"type": kind}, "test_cfg": {"mode": mode}}
        if refused:
            with pytest.raises(ModelError, match="MaskFormerHead gives scores of the size before it"):
                read(config)
            assert read(config, approximate=True).approximations
        assert read(config, approximate=refused).steps == padded


def test_a_data_preprocessor_of_the_users_own() -> None:
    import_mmseg()
    from mmseg.models import SegDataPreProcessor
    from mmseg.registry import MODELS

    class MyPreprocessor(SegDataPreProcessor):
        def __init__(self, gain: float, **settings: Any) -> None:
            super().__init__(**settings)

    MODELS.register_module(module=MyPreprocessor, force=True)
    config = config_of(PACK, after={"type": "MyPreprocessor", "gain": 2, "mean": [1], "std": [2]})
    with pytest.raises(ModelError, match="followed by the data_preprocessor MyPreprocessor, which segplug"):
        read(config)
    found = read(config, approximate=True)
    assert found.steps == (Normalize((1,) * 3, (2,) * 3, arithmetic="division"),)
    assert found.approximations == (
        "the data_preprocessor MyPreprocessor is taken as mmseg's own, SegDataPreProcessor",
    )


def test_what_the_config_lacks_is_said() -> None:
    notes = Notes()
    assert read({"model": {}}, notes).steps == ()
    assert notes.warnings == [
        "the config has no data_preprocessor: images are not normalised",
        "the config has no test pipeline: images are fed at their own size",
    ]
    shared = {"data_preprocessor": NO_NORM | {"mean": [1], "std": [2]}, "test_pipeline": [LOAD, INSIDE, PACK]}
    assert read(shared).steps == (RESIZED, Normalize((1,) * 3, (2,) * 3, arithmetic="division"))
    # As mmengine's Runner: it stands in for one that is not there, and not for `None`.
    assert read(shared | {"model": {"data_preprocessor": None}}).steps == (RESIZED,)


@pytest.mark.parametrize(
    ("loader", "decoding", "convert"),
    [
        (LOAD, Decoding(), False),
        (LOAD | {"backend_args": None, "ignore_empty": True, "to_float32": True}, Decoding(), True),
        (LOAD | {"file_client_args": {"backend": "disk"}}, Decoding(), False),
        (LOAD | {"color_type": "unchanged"}, Decoding(color="unchanged"), False),
        (LOAD | {"imdecode_backend": "pillow"}, Decoding(library="pillow"), False),
        (LOAD | {"imdecode_backend": "tifffile"}, Decoding(library="tifffile", color="unchanged"), False),
        (LOAD | {"imdecode_backend": None}, Decoding(), False),
        ({"type": "mmcv.transforms.LoadImageFromFile"}, Decoding(), False),
        ({"type": "InferencerLoader"}, Decoding(loader="InferencerLoader"), False),
        (
            {"type": "mmdet.LoadMultiChannelImageFromFiles"},
            Decoding(loader="LoadMultiChannelImageFromFiles"),
            False,
        ),
    ],
)
def test_loaders(loader: dict[str, Any], decoding: Decoding, convert: bool) -> None:
    found = read(config_of(PACK, loader=loader), network=3)
    assert (found.decoding, found.steps) == (decoding, (Convert(),) if convert else ())


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (LOAD | {"color": "bgr"}, "mmseg cannot build LoadImageFromFile .*keyword argument 'color'"),
        (LOAD | {"color_type": "rgb"}, "has color_type='rgb', which is none of color, color_ignore"),
        (OWN, "loads images with OwnLoader, which no registry has"),
        ({"type": "LoadBiomedicalImageFromFile"}, "has LoadBiomedicalImageFromFile, which loads volumes"),
        (LOAD | {"color_type": "grayscale"}, r"\(1 channel\), but normalises 3 channels"),
    ],
)
def test_loaders_that_are_refused(loader: dict[str, Any], message: str) -> None:
    after = NO_NORM | {"mean": [1, 2, 3], "std": [1, 2, 3]}
    with pytest.raises(ModelError, match=message):
        read(config_of(PACK, loader=loader, after=after), network=3)


LEFT_OUT = [
    {"type": "RGB2Gray"},
    {"type": "CLAHE"},
    {"type": "PhotoMetricDistortion"},
    {"type": "RandomGrayscale", "prob": 0.0},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "Pad", "size_divisor": 8, "padding_mode": "edge"},
    {"type": "ResizeToMultiple", "size_divisor": (8, 16)},
    {"type": "NoSuchTransform"},
    lambda results: results,
]


@pytest.mark.parametrize("transform", LEFT_OUT)
def test_what_segplug_cannot_do_is_refused_or_left_out(transform: Any) -> None:
    name = transform["type"] if isinstance(transform, dict) else "<lambda>"
    with pytest.raises(
        ModelError, match=rf"the test pipeline has .*{name}.*, which segplug cannot do as mmseg"
    ):
        steps_of(INSIDE, transform, PACK)
    found = read(config_of(INSIDE, transform, PACK), approximate=True)
    assert found.steps == (RESIZED,)
    assert len(found.approximations) == 1
    assert name in found.approximations[0]


def test_transforms_of_other_libraries_are_named_with_their_module() -> None:
    with pytest.raises(ModelError, match=r"has mmdet\.datasets\.transforms\.transforms\.Resize, which"):
        steps_of(INSIDE | {"type": "mmdet.Resize"}, PACK)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([resize(scale=(8, 8), keep=True)], "mmseg cannot build Resize .*unexpected keyword argument 'keep'"),
        ([resize()], "mmseg cannot build Resize of the test pipeline"),
        ([resize(scale_factor=2)], "mmseg cannot build Resize .*scale_factor is float"),
        ([resize(scale=(8.5, 8))], r"ValueError: 8\.5 is no number of pixels"),
        ([resize(scale=(-1, 8), keep_ratio=True)], "ValueError: -1 is no number of pixels"),
        ([resize(scale=(float("inf"), 8))], "ValueError: inf is no number of pixels"),
        ([resize(scale=8, backend="tf")], "backend='tf', none of 'cv2', 'pillow'"),
        ([resize(scale=8, interpolation="linear")], "interpolation='linear', none of nearest, bilinear"),
        ([resize(scale_factor=-0.5)], r"scale_factor is .*, not numbers above 0"),
        ([{"type": "RandomFlip", "prob": 1}], "mmseg cannot build RandomFlip .*probs must be float"),
        ([{"type": "RandomFlip", "prob": 1.0, "direction": "diagonal"}], "'diagonal', which mmseg cannot"),
        ([{"type": "Pad"}], "mmseg cannot build Pad"),
        ([{"type": "Pad", "size_divisor": 8, "pad_val": {"img": [1, 2, 3]}}], "pads with the list"),
        ([{"type": "Pad", "size_divisor": 8, "pad_val": {"img": (1, 2)}}], "pads with 2 values, the images"),
        ([{"type": "PackSegInputs", "keys": ()}], "mmseg cannot build PackSegInputs"),
        ([{"type": "Normalize", "mean": [1, 2], "std": [1, 2]}], "normalises 2 channels"),
        ([{"type": "Normalize", "mean": [1] * 3, "std": [1, 0, 1]}], "with a std that is not above 0"),
        ([{"type": "ResizeShortestEdge", "scale": [8, 9], "max_size": 9}], "no number and no tuple of two"),
        ([{"scale": 8}], "KeyError: type"),
    ],
)
def test_what_mmseg_refuses_is_refused(transforms: list[Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        read(config_of(*transforms, PACK))
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": [1, 2, 3]}, "mmseg cannot build the data_preprocessor SegDataPreProcessor: .*specify both"),
        ({"means": [1]}, "mmseg cannot build .*unexpected keyword argument 'means'"),
        ({"mean": [1], "std": [0]}, "a std that is not above 0"),
        ({"mean": [1, 2], "std": [1, 2]}, "normalises 2 channels"),
        ({"mean": [float("nan")], "std": [1]}, "a mean that is not finite"),
        ({"test_cfg": {"size": (8, 8), "size_divisor": 8}}, "mmseg takes either size or size_divisor"),
        ({"test_cfg": {"divisor": 8}}, "mmseg takes either size or size_divisor"),
        ({"test_cfg": {"size": 8}}, r"test_cfg\.size of the data_preprocessor is 8, not \(height, width\)"),
        ({"test_cfg": {"size": (8, 0)}}, "has 0, which is no number of pixels"),
        (
            {"pad_val": (1, 2, 3), "test_cfg": {"size_divisor": 8}},
            r"pads with \(1, 2, 3\), which is no finite",
        ),
        ({"bgr_to_rgb": True, "rgb_to_bgr": True}, "mmseg cannot build the data_preprocessor"),
    ],
)
def test_data_preprocessors_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        read(config_of(PACK, after=NO_NORM | settings), network=3)
    assert "\n" not in raised.value.message


def test_many_channels_are_padded_by_the_data_preprocessor_only() -> None:
    pad = {"type": "Pad", "size_divisor": 8}
    with pytest.raises(ModelError, match="pads 5 channels with 0, which OpenCV refuses"):
        read(config_of(pad, PACK, loader=LOAD | {"color_type": "unchanged"}), network=5)


def test_a_size_that_mmseg_forgets_is_refused_unless_it_is_noted_again() -> None:
    """Scores of the whole image are first resized to ``pad_shape``, that of the last Pad."""
    pad, flip = {"type": "Pad", "size_divisor": 32}, {"type": "RandomFlip", "prob": 1.0}
    with pytest.raises(ModelError, match="has Resize after Pad, and mmseg first resizes the scores"):
        steps_of(pad, INSIDE, PACK)
    steps = (Pad(divisor=32, cut=False), RESIZED)
    assert steps_of(pad, INSIDE, PACK, approximate=True) == steps
    assert steps_of(pad, INSIDE, {**PACK, "meta_keys": ("ori_shape", "img_shape")}) == steps
    assert steps_of(pad, INSIDE, pad, PACK) == (*steps, steps[0])
    padded = NO_NORM | {"test_cfg": {"size_divisor": 8}}
    assert steps_of(pad, INSIDE, PACK, after=padded) == (*steps, Pad(divisor=8))
    config = config_of(pad, INSIDE, PACK)
    config["model"]["test_cfg"] = {"mode": "slide"}
    assert read(config).steps == steps
    with pytest.raises(ModelError, match="flips images, but PackSegInputs has no flip and flip_direction"):
        steps_of(flip, {**PACK, "meta_keys": ("ori_shape",)})


def test_random_scales_are_refused_or_the_first_is_used() -> None:
    for step, scale in (
        ({"type": "RandomResize", "scale": (100, 60), "ratio_range": (0.5, 2.0)}, (50, 30)),
        ({"type": "RandomChoiceResize", "scales": [(40, 30), (80, 60)]}, (40, 30)),
    ):
        with pytest.raises(ModelError, match="the test pipeline resizes at random"):
            steps_of(step, PACK)
        found = read(config_of(step, PACK), approximate=True)
        assert found.steps == (Resize(scale),)
        assert found.approximations == (f"{step['type']} uses its first scale, {scale[0]}x{scale[1]}",)


def test_data_sets_with_different_pipelines() -> None:
    config = config_of(INSIDE, PACK)
    parts = [{"pipeline": [LOAD, INSIDE, PACK]}, {"pipeline": [LOAD, PACK]}]
    config["test_dataloader"]["dataset"] = {"type": "ConcatDataset", "datasets": parts}
    with pytest.raises(ModelError, match="is not the same for all data sets of test_dataloader"):
        read(config)
    assert read(config, approximate=True).steps == (RESIZED,)
    repeated = {"type": "RepeatDataset", "times": 2, "dataset": parts[0]}
    config["test_dataloader"]["dataset"] = {"type": "ConcatDataset", "datasets": [parts[0], repeated]}
    assert read(config).steps == (RESIZED,)
