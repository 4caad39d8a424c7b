"""Settings of processors: what is refused, what a user is told, which processor a folder has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from segplug_transformers import processor
from segplug_transformers.architectures import ARCHITECTURES
from segplug_transformers.folder import Folder
from segplug_transformers.options import Backend
from segplug_transformers.processor import Processing

from segplug.errors import ModelError
from segplug.model import Inference

_SEGFORMER = "SegformerForSemanticSegmentation"
_EOMT = "EomtForUniversalSegmentation"
_WINDOWS = {"size": {"shortest_edge": 40, "longest_edge": None}, "do_split_image": True}


def _read(
    settings: Mapping[str, Any] | None,
    name: str = _SEGFORMER,
    backend: Backend = "pil",
    config: Mapping[str, Any] | None = None,
) -> Processing:
    file = None if settings is None else Path("preprocessor_config.json")
    folder = Folder(Path("folder"), config or {}, settings, None, Path("config.json"), file)
    return processor.read(folder, ARCHITECTURES[name], backend)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"image_processor_type": "NoImageProcessor"}, "NoImageProcessor, which is not known"),
        ({"auto_map": {"AutoImageProcessor": "code.Own"}}, "auto_map"),
        ({"image_processor_type": "DetrImageProcessor"}, "does not take the output of Segformer"),
        ({"do_thumbnail": True}, "do_thumbnail is True, a step that is not known"),
        ({"do_resize": "yes"}, "do_resize is 'yes', not true or false"),
        ({"size": {"longest_edge": 40}}, "does not resize to longest_edge"),
        ({"size": {"min_pixels": 40, "max_pixels": 90}}, "does not resize to max_pixels and min_pixels"),
        ({"size": {"height": 40}}, "size is {'height': 40}, not a size"),
        ({"size": [40]}, "size is [40], not a size"),
        ({"size": {"height": 40, "width": 0}}, "width of size is 0"),
        ({"size": {"height": 40.5, "width": 40}}, "height of size is 40.5"),
        ({"size": True}, "size is True, not a size"),
        ({"resample": 6}, "resample is 6"),
        ({"resample": True}, "resample is True"),
        ({"resample": "PIL.Image.BICUBIC"}, "preprocessor.resample=3, which is bicubic"),
        ({"rescale_factor": 0}, "rescale_factor is 0"),
        ({"rescale_factor": 10**400}, "rescale_factor is 1000"),
        ({"rescale_factor": float("nan")}, "rescale_factor is nan"),
        ({"image_mean": [10**400, 1, 1]}, "not numbers"),
        ({"image_mean": [float("inf"), 1, 1]}, "not numbers"),
        ({"image_std": [1e300, 1, 1]}, "not numbers above zero"),  # float32 has no such numbers
        ({"image_std": [1e-300, 1, 1]}, "not numbers above zero"),
        ({"rescale_factor": "1/255"}, "rescale_factor is '1/255'"),
        ({"rescale_factor": None}, "rescale_factor is None"),
        ({"size": None}, "size is None"),
        ({"resample": None}, "resample is None"),
        ({"image_std": None}, "there is no image_std"),
        ({"image_mean": [0.5]}, "image_mean has 1 value"),
        ({"image_mean": [0.5, 0.5, "0.5"]}, "not numbers"),
        ({"image_mean": "0.5"}, "not numbers"),
        ({"image_std": [0.5, 0, 0.5]}, "not numbers above zero"),
        ({"image_std": float("nan")}, "not numbers above zero"),
    ],
)
def test_what_cannot_be_followed_is_refused(settings: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ModelError) as caught:
        _read(settings)
    assert says in str(caught.value)
    assert "preprocessor_config.json" in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("DPTForSemanticSegmentation", {"size": {"shortest_edge": 40}}, "needs a size with height and width"),
        ("DPTForSemanticSegmentation", {"ensure_multiple_of": 0}, "ensure_multiple_of is 0"),
        ("DPTForSemanticSegmentation", {"do_pad": True, "size_divisor": 0}, "size_divisor is 0"),
        ("MaskFormerForInstanceSegmentation", {"size": 40}, "does not resize to shortest_edge"),
        ("MaskFormerForInstanceSegmentation", {"size_divisor": 1.5}, "size_divisor is 1.5"),
        ("MaskFormerForInstanceSegmentation", {"size_divisor": None}, "size_divisor is null"),
        ("DPTForSemanticSegmentation", {"ensure_multiple_of": None}, "ensure_multiple_of is None"),
        (
            "MaskFormerForInstanceSegmentation",
            {"image_processor_type": "DetrImageProcessor"},
            "it needs Mask",
        ),
        ("DetrForSegmentation", {"pad_size": {"height": 90, "width": 90}}, "which pixels are padding"),
        ("DetrForSegmentation", {"size": 40, "max_size": None}, "does not resize to shortest_edge"),
        (
            "MobileViTForSemanticSegmentation",
            {"crop_size": {"shortest_edge": 4}},
            "without a height and a width",
        ),
        (_EOMT, {"size": {"height": 40, "width": 40}}, "needs a size with shortest_edge"),
        (_EOMT, {"size": {"shortest_edge": 40, "longest_edge": 60}, "do_pad": True}, "takes squares"),
        (_EOMT, {**_WINDOWS, "size": {"shortest_edge": 40, "longest_edge": 40}}, "without longest_edge"),
        (_EOMT, {**_WINDOWS, "do_resize": False}, "needs do_resize"),
        ("Tipsv2DptForSemanticSegmentation", {"do_normalize": True}, "there is no image_mean"),
        ("Tipsv2DptForSemanticSegmentation", {"do_center_crop": True}, "there is no crop_size"),
        (
            "Sapiens2ForSemanticSegmentation",
            {"do_pad": True, "size": {"shortest_edge": 9}},
            "without a height",
        ),
    ],
)
def test_what_a_class_cannot_follow_is_refused(name: str, settings: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ModelError) as caught:
        _read(settings, name)
    assert says in str(caught.value)


def test_torchvision_refuses_what_only_pillow_does() -> None:
    for settings, says in (
        ({"resample": 4}, "filter box"),
        ({"resample": 5}, "filter hamming"),
    ):
        assert _read(settings).steps
        with pytest.raises(ModelError, match=says):
            _read(settings, backend="torchvision")
    dpt = {"do_pad": True}
    assert _read(dpt, "DPTForSemanticSegmentation").steps
    with pytest.raises(ModelError, match="size_divisor is None"):
        _read(dpt, "DPTForSemanticSegmentation", "torchvision")


def test_folder_without_processor_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no preprocessor_config\.json.*SegformerImageProcessor"):
        _read(None)


@pytest.mark.parametrize(
    ("settings", "config"),
    [
        ({"image_processor_type": "BeitImageProcessor"}, {}),
        ({"image_processor_type": "BeitImageProcessorFast"}, {}),
        ({"image_processor_type": "BeitImageProcessorPil"}, {}),
        ({"feature_extractor_type": "BeitFeatureExtractor"}, {}),
        ({}, {"image_processor_type": "BeitImageProcessor"}),
    ],
)
def test_names_of_all_times_are_known(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    assert _read(settings, config=config).processor == "BeitImageProcessor"


def test_without_a_name_it_is_the_usual_one_of_the_network() -> None:
    for name, architecture in ARCHITECTURES.items():
        assert _read({}, name).processor == architecture.processor


@pytest.mark.parametrize(
    ("name", "settings", "reduced"),
    [
        (_SEGFORMER, {}, False),
        (_SEGFORMER, {"do_reduce_labels": True}, True),
        (_SEGFORMER, {"reduce_labels": True}, True),
        (_SEGFORMER, {"reduce_labels": True, "do_reduce_labels": False}, False),
        ("OneFormerForUniversalSegmentation", {"do_reduce_labels": True}, True),
        ("DetrForSegmentation", {"do_reduce_labels": True}, False),
        (_EOMT, {"ignore_index": None}, False),
        (_EOMT, {"ignore_index": 255}, True),
    ],
)
def test_reduced_labels(name: str, settings: Mapping[str, Any], reduced: bool) -> None:
    assert _read(settings, name).reduce_zero_label is reduced


def test_a_user_is_told_what_has_no_effect() -> None:
    notes = " ".join(_read({"do_center_crop": True, "crop_size": 8, "crop_pct": 0.9, "num_labels": 3}).notes)
    assert "SegformerImageProcessor ignores do_center_crop" in notes
    assert "ignores crop_pct" in notes
    assert "crop_size" not in notes
    assert "num_labels" not in notes
    assert not _read({"size": 48, "image_processor_type": "SegformerImageProcessor", "device": None}).notes


def test_a_user_is_not_told_of_each_of_many() -> None:
    many = {f"own_{number}": 1 for number in range(5000)}
    notes = _read({"x" * 5000: 1, **many}).notes
    assert len(notes) == 11
    assert "4991 more settings" in notes[-1]
    assert max(map(len, notes)) < 200


def test_a_user_is_told_what_changes_the_result() -> None:
    assert "cuts out the centre" in _read({}, "MobileNetV2ForSemanticSegmentation").notes[0]
    assert "pads images" in _read({"do_pad": True}, _EOMT).notes[0]
    assert "square ones only" in _read({}, _EOMT).notes[0]
    sapiens = _read({}, "Sapiens2ForSemanticSegmentation", "pil")
    assert sapiens.backend == "torchvision"
    assert "no form that uses Pillow" in sapiens.notes[0]
    assert not _read({}, "Sapiens2ForSemanticSegmentation", "torchvision").notes


def test_windows_of_eomt() -> None:
    found = _read(_WINDOWS, _EOMT)
    assert found.inference == Inference("slide", crop_size=(40, 40), placement="even")
    assert (found.window, found.input_size, found.notes) == (40, (40, 40), ())
    padded = _read({"do_pad": True}, _EOMT)
    assert padded.inference == Inference()
    assert (padded.window, padded.input_size) == (640, (640, 640))


@pytest.mark.parametrize("backend", ["pil", "torchvision"])
def test_grey_images(backend: Backend) -> None:
    config = {"backbone_config": {"num_channels": 1}}
    found = _read({"image_mean": 0.5, "image_std": [0.25]}, backend=backend, config=config)
    assert found.decoding.color == "grayscale"
    assert found.steps[0].name == "resize"
    assert "channel_order" not in [step.name for step in found.steps]
    with pytest.raises(ModelError, match="image_mean has 3 values"):
        _read({}, backend=backend, config=config)


@pytest.mark.parametrize("name", [_SEGFORMER, "MobileViTForSemanticSegmentation"])
def test_images_of_other_channels_are_not_converted(name: str) -> None:
    switch = "do_convert_rgb" if name == _SEGFORMER else "do_flip_channel_order"
    settings = {"image_mean": 0.5, "image_std": 0.5}
    assert _read({**settings, switch: False}, name, config={"num_channels": 1}).steps
    with pytest.raises(ModelError, match=f"{switch} is true"):
        _read({**settings, switch: True}, name, config={"num_channels": 1})


def test_pillow_does_not_resize_four_channels() -> None:
    settings = {"image_mean": 0.5, "image_std": 0.5}
    assert _read(settings, backend="torchvision", config={"num_channels": 4}).decoding.library == "bands"
    assert _read({**settings, "do_resize": False}, config={"num_channels": 4}).steps
    with pytest.raises(ModelError, match="not with 4"):
        _read(settings, config={"num_channels": 4})
