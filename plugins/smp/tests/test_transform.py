"""Transforms of albumentations in a folder: what they do to an image is what segplug does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from segplug_smp.transform import TRANSFORM, read_transform
from smp_support.networks import saved

from segplug import Segplug
from segplug.errors import ModelError
from segplug.preprocessing import Normalize, Pad, Resize, find_steps
from segplug.progress import QuietReporter
from segplug.runtime.preprocess import Preprocessor
from segplug.verification.sample import sample_image

RESIZE = {"__class_fullname__": "Resize", "p": 1.0, "height": 96, "width": 128, "interpolation": 1}
NORMALIZE = {
    "__class_fullname__": "Normalize", "p": 1.0, "max_pixel_value": 255.0, "normalization": "standard",
    "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
}  # fmt: skip
PAD = {
    "__class_fullname__": "PadIfNeeded", "p": 1.0, "border_mode": 0, "fill": 10.0, "position": "center",
    "min_height": None, "min_width": None, "pad_height_divisor": 32, "pad_width_divisor": 32,
}  # fmt: skip
TENSOR = {"__class_fullname__": "albumentations.pytorch.transforms.ToTensorV2", "p": 1.0}


def write(folder: Path, *steps: Any) -> Path:
    document = {"__version__": "2.0.8", "transform": {"__class_fullname__": "Compose", "transforms": steps}}
    (folder / TRANSFORM).write_text(json.dumps(document))
    return folder


def test_a_folder_with_a_transform(copy: Path) -> None:
    write(copy, RESIZE, NORMALIZE, TENSOR)
    reporter = QuietReporter()
    model = Segplug(reporter=reporter).load_model(copy)
    assert [text for text in reporter.warnings if "assumed" in text] == []
    assert model.meta.input_size == (96, 128)
    assert copy / TRANSFORM in model.files
    image = sample_image(70, 90)
    small = cv2.resize(image, (128, 96), interpolation=cv2.INTER_LINEAR)
    expected = (small / 255.0 - NORMALIZE["mean"]) / NORMALIZE["std"]
    found = Preprocessor(model.meta)(np.ascontiguousarray(image[:, :, ::-1]), "image").array
    assert np.abs(found - expected.transpose(2, 0, 1)).max() < 1e-6
    meta = Segplug().load_model(copy, mean=(1, 2, 3), std=(4, 5, 6), resize=(64, 64)).meta
    assert find_steps(meta.preprocessing, Normalize) == [Normalize((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))]
    assert (find_steps(meta.preprocessing, Resize), meta.input_size) == ([Resize(scale=(64, 64))], (64, 64))


def test_padding_before_the_normalisation_is_normalised(copy: Path) -> None:
    write(copy, PAD, NORMALIZE)
    model = Segplug().load_model(copy)
    image = sample_image(70, 90)
    padded = cv2.copyMakeBorder(image, 13, 13, 3, 3, cv2.BORDER_CONSTANT, value=(10, 10, 10))
    expected = (padded / 255.0 - NORMALIZE["mean"]) / NORMALIZE["std"]
    found = Preprocessor(model.meta)(np.ascontiguousarray(image[:, :, ::-1]), "image").array
    assert np.abs(found - expected.transpose(2, 0, 1)).max() < 1e-6
    assert Segplug().predict(model, image).labels.shape == (70, 90)


def test_padding_to_what_the_network_needs_is_the_transforms(tmp_path: Path) -> None:
    saved(tmp_path, "FPN")
    least = {**PAD, "min_height": 64, "min_width": 64, "pad_height_divisor": None, "pad_width_divisor": None}
    longest = {"__class_fullname__": "LongestMaxSize", "p": 1.0, "max_size": 64, "interpolation": 1}
    write(tmp_path, longest, least)
    reporter = QuietReporter()
    meta = Segplug(reporter=reporter).load_model(tmp_path).meta
    assert find_steps(meta.preprocessing, Pad) == [Pad(size=(64, 64), value=(10.0,) * 3, centred=True)]
    assert meta.input_size == (64, 64)
    assert [text for text in reporter.warnings if "assumed" in text] == []

    write(tmp_path, RESIZE, {**PAD, "pad_height_divisor": 20, "pad_width_divisor": 20})
    meta = Segplug(reporter=reporter).load_model(tmp_path).meta
    assert find_steps(meta.preprocessing, Pad) == [Pad(divisor=160, value=(10.0,) * 3, centred=True)]
    assert meta.input_size == (160, 160)
    (said,) = [text for text in reporter.warnings if "assumed" in text]
    assert said.endswith("assumed: images are padded to multiples of 160 (--pad-divisor)")


def test_the_size_of_all_images(tmp_path: Path) -> None:
    def size(*steps: Any) -> Any:
        found = read_transform(write(tmp_path, *steps), 3, approximate=False)
        assert found is not None
        return found.size

    longest = {"__class_fullname__": "LongestMaxSize", "p": 1.0, "max_size": 64, "interpolation": 1}
    least = {**PAD, "min_height": 100, "min_width": 64, "pad_height_divisor": None, "pad_width_divisor": None}
    assert size(PAD) is None
    assert size(RESIZE) == (96, 128)
    assert size(RESIZE, least) == (100, 128)
    assert size({**RESIZE, "height": 97}, PAD) == (128, 128)
    assert size(longest) is None
    assert size(longest, PAD) is None
    assert size(longest, least) == (100, 64)
    assert size({**longest, "max_size": 65}, least) is None


def test_steps(tmp_path: Path) -> None:
    def read(*steps: Any, channels: int = 3) -> Any:
        return read_transform(write(tmp_path, *steps), channels, approximate=False)

    assert read_transform(tmp_path / "not", 3, approximate=False) is None
    floats = {"__class_fullname__": "ToFloat", "max_value": None}
    unit = {**NORMALIZE, "max_pixel_value": 1.0}
    found, whole = read(floats, unit), read(NORMALIZE)
    assert found.mean == pytest.approx(whole.mean)
    assert found.std == pytest.approx(whole.std)
    assert read(TENSOR, {"__class_fullname__": "NoOp", "p": 0.5}).mean is None
    assert read({**NORMALIZE, "mean": 0.5, "std": 0.25}, channels=2).mean == (127.5, 127.5)
    longest = read({"__class_fullname__": "LongestMaxSize", "max_size": 64, "interpolation": 2}).resize
    assert longest == Resize(scale=(64, 64), fit="inside", rounding="half_even", filter="bicubic")
    least = {**PAD, "min_height": 64, "min_width": 96, "pad_height_divisor": None, "pad_width_divisor": None}
    assert read(NORMALIZE, {**least, "fill": 0}).pad == Pad(size=(64, 96), centred=True)
    assert read({**PAD, "position": "PositionType.TOP_LEFT", "fill": 0}).pad == Pad(divisor=32, centred=False)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"__class_fullname__": "CenterCrop", "height": 3, "width": 3}, "CenterCrop"),
        ({"__class_fullname__": "Lambda", "__name__": "preprocess"}, "Lambda"),
        ({**RESIZE, "p": 0.5}, r"Resize at random \(p=0.5\)"),
        ({**RESIZE, "interpolation": 9}, "Resize, whose settings are"),
        ({**RESIZE, "height": -1}, "Resize, whose settings are"),
        ({**RESIZE, "area_for_downscale": "image"}, "Resize with area_for_downscale"),
        ({**PAD, "border_mode": 4}, "PadIfNeeded with border_mode 4, which repeats or mirrors"),
        ({**PAD, "pad_width_divisor": 16}, "PadIfNeeded with two divisors"),
        ({**PAD, "position": "random"}, "PadIfNeeded with position random"),
        ({**NORMALIZE, "normalization": "image"}, "Normalize with normalization image"),
        ({**NORMALIZE, "mean": [0.5]}, "Normalize, whose settings are"),
        ("Resize", "None"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(tmp_path: Path, step: Any, reason: str) -> None:
    write(tmp_path, step)
    with pytest.raises(ModelError, match=f"a step that cannot be expressed: {reason}") as caught:
        read_transform(tmp_path, 3, approximate=False)
    assert caught.value.hint == "--approximate leaves it out"
    found = read_transform(tmp_path, 3, approximate=True)
    assert found is not None
    assert (found.resize, found.pad, found.mean) == (None, None, None)
    (line,) = found.left_out
    assert line.startswith(TRANSFORM)


def test_the_metadata_lists_what_was_left_out(copy: Path) -> None:
    write(copy, {"__class_fullname__": "CenterCrop", "height": 3, "width": 3}, NORMALIZE)
    model = Segplug().load_model(copy, approximate=True)
    assert model.meta.approximations == (f"{TRANSFORM}: CenterCrop",)
    (copy / TRANSFORM).write_text("{}")
    with pytest.raises(ModelError, match="holds no transform of albumentations"):
        Segplug().load_model(copy)


@pytest.mark.parametrize("whole", [{"__class_fullname__": "OneOf"}, {"p": 0.5}])
def test_steps_of_which_some_may_not_run_are_refused(tmp_path: Path, whole: dict[str, Any]) -> None:
    transform = {"__class_fullname__": "Compose", "p": 1.0, "transforms": [NORMALIZE]} | whole
    (tmp_path / TRANSFORM).write_text(json.dumps({"transform": transform}))
    with pytest.raises(ModelError, match=r"holds (OneOf with p=1.0|Compose with p=0.5), and only Compose"):
        read_transform(tmp_path, 3, approximate=True)
