"""From an image to labels: a folder of smp gives what smp's own preprocessing, network and argmax give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import torch
from segplug_smp.known import colours_of
from smp_support.networks import OWN, TINY, own_scores, saved

from segplug import Segplug
from segplug.errors import ShapeError
from segplug.runtime.preprocess import Preprocessor
from segplug.verification.sample import sample_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NEAR = 1e-4
"""Scores whose two largest are nearer than this, of the largest, are not compared."""


def sure(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where a class is clearly ahead; of scores of one class, where it is clearly there or not."""
    if len(scores) == 1:
        return np.asarray(np.abs(scores[0]) > NEAR * np.abs(scores).max())
    top = np.sort(scores, axis=0)[-2:]
    return np.asarray(top[1] - top[0] > NEAR * np.abs(scores).max())


def compare(folder: Path, made: Any, image: npt.NDArray[np.uint8], **given: Any) -> Any:
    """The model, once its labels and scores were compared with smp's own."""
    model = Segplug().load_model(folder, **given)
    channels = image.shape[2]
    mean, std = (MEAN, STD) if channels == 3 else ((0.4,) * channels, (0.2,) * channels)
    expected = own_scores(made, image, mean, std)
    found = Segplug().predict(model, image, logits=True)
    assert np.abs(found.logits - expected).max() <= 2e-5 * np.abs(expected).max()
    labels = expected[0] > 0 if len(expected) == 1 else expected.argmax(0)
    assert sure(expected).mean() > 0.99
    assert np.array_equal(found.labels[sure(expected)], labels[sure(expected)])
    assert len(np.unique(found.labels)) > 1
    return model


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        pytest.param("Unet", (64, 96), marks=pytest.mark.slow),  # it takes every size: nothing is padded
        ("FPN", (70, 90)),
    ],
)
def test_labels_are_those_of_smp(tmp_path: Path, architecture: str, size: tuple[int, int]) -> None:
    made = saved(tmp_path / "net", architecture, OWN)
    compare(tmp_path / "net", made, sample_image(*size))


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels(tmp_path: Path, channels: int) -> None:
    made = saved(tmp_path / "net", "FPN", in_channels=channels)
    image = np.concatenate([sample_image(70, 90, seed=seed) for seed in range(2)], axis=2)[:, :, :channels]
    compare(tmp_path / "net", made, image, mean=(0.4 * 255,), std=(0.2 * 255,))


def test_one_class(tmp_path: Path) -> None:
    made = saved(tmp_path / "net", "Linknet", OWN, classes=1)
    image = sample_image(70, 90)
    compare(tmp_path / "net", made, image)


def test_each_class_alone(tmp_path: Path) -> None:
    made = saved(tmp_path / "net", "FPN", OWN, activation="sigmoid")
    image = sample_image(70, 90)
    with torch.no_grad():
        probabilities = own_scores(made, image, MEAN, STD)
    found = Segplug().predict(Segplug().load_model(tmp_path / "net"), image)
    clear = (np.abs(probabilities - 0.5) > NEAR).all(0)
    bits = ((probabilities > 0.5) << np.arange(3)[:, None, None]).sum(0)
    assert clear.mean() > 0.99
    assert np.array_equal(found.labels[clear], bits[clear])
    assert len(np.unique(found.labels)) > 2


def test_the_pixels_are_those_of_smp() -> None:
    ours = colours_of(TINY, None)
    theirs = smp.encoders.get_preprocessing_params(TINY)
    assert (ours.mean, ours.std) == (
        tuple(255 * value for value in theirs["mean"]),
        tuple(255 * value for value in theirs["std"]),
    )


def test_the_numbers_of_the_networks_input(unet: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.stack([ramp, ramp[::-1], ramp.T], axis=2)
    meta = Segplug().load_model(unet).meta
    found = Preprocessor(meta)(np.ascontiguousarray(image[:, :, ::-1]), "ramp").array
    expected = smp.encoders.get_preprocessing_fn(TINY)(image).transpose(2, 0, 1)
    assert np.abs(found - expected).max() < 4e-7  # a bit of the last place of numbers below 4


@pytest.mark.parametrize(
    ("encoder", "weights", "mean", "std"),
    [
        ("resnet34", "imagenet", MEAN, STD),
        ("resnet18", "ssl", MEAN, STD),
        ("mit_b2", None, MEAN, STD),
        ("timm-efficientnet-b0", "noisy-student", MEAN, STD),
        ("timm-efficientnet-b0", "advprop", (0.5,) * 3, (0.5,) * 3),
        ("efficientnet-b3", "advprop", (0.5,) * 3, (0.5,) * 3),
        ("timm-tf_efficientnet_lite2", "imagenet", (0.5,) * 3, (0.5,) * 3),
        ("inceptionv4", "imagenet+background", (0.5,) * 3, (0.5,) * 3),
        ("inceptionresnetv2", None, (0.5,) * 3, (0.5,) * 3),
        ("xception", "imagenet", (0.5,) * 3, (0.5,) * 3),
        ("dpn68", "imagenet", (124 / 255, 117 / 255, 104 / 255), (0.23482446870963955,) * 3),
        ("tu-vit_base_patch16_224", True, (0.5,) * 3, (0.5,) * 3),
        ("tu-convnext_tiny", None, MEAN, STD),
        ("timm-regnety_002", "imagenet", MEAN, STD),
        ("timm-mobilenetv3_small_100", None, MEAN, STD),
        ("tu-test_vit_without_weights", None, MEAN, STD),
    ],
)
def test_what_encoders_were_trained_with(
    encoder: str, weights: Any, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    found = colours_of(encoder, weights)
    assert found.mean == pytest.approx([255 * value for value in mean])
    assert found.std == pytest.approx([255 * value for value in std])


@pytest.mark.slow
def test_a_file_refuses_sizes_that_the_network_does_not_take(tmp_path: Path) -> None:
    made = saved(tmp_path / "net", "FPN")
    session = Segplug()
    model = session.load_model(tmp_path / "net", pad_divisor=1)
    with pytest.raises(ShapeError) as refused:
        session.export("onnx", model, output=tmp_path / "bad.onnx", shape=(70, 90))
    assert "multiples of 32" in f"{refused.value.message} {refused.value.hint}"
    assert not (tmp_path / "bad.onnx").exists()
    exported = session.export("onnx", model, output=tmp_path / "net.onnx", dynamic=True, verify=True)
    assert exported.meta.verification["passed"]
    assert exported.meta.input_limits.multiple_of == 32
    raw = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (entry,) = raw.get_inputs()
    with pytest.raises(Exception, match=r"ONNXRuntimeError"):
        raw.run(None, {entry.name: np.zeros((1, 3, 70, 90), np.float32)})
    image = sample_image(70, 90)
    cv2.imwrite(str(tmp_path / "image.png"), image[:, :, ::-1])
    colours = smp.encoders.get_preprocessing_params(TINY)
    expected = own_scores(made, image, colours["mean"], colours["std"])
    found = session.predict(tmp_path / "net.onnx", tmp_path / "image.png")
    assert np.array_equal(found.labels[sure(expected)], expected.argmax(0)[sure(expected)])
