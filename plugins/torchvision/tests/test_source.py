"""``torchvision:NAME`` as a model: its scores, classes and options, and what a user is told."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segplug_torchvision.provider import provider

from matrix import torchvision_zoo
from segplug import Segplug
from segplug.model import Inference, InputLimits, SegmentationModel
from segplug.palette import named_palette
from segplug.preprocessing import Normalize, Resize, Scale, find_steps
from segplug.progress import QuietReporter
from segplug.providers import Confidence

LRASPP = "torchvision:lraspp_mobilenet_v3_large"
FCN = "torchvision:fcn_resnet50"


class Told(QuietReporter):
    """Keeps notes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def load(location: str = LRASPP, *, told: Told | None = None, **given: Any) -> SegmentationModel:
    return Segplug(reporter=told).load_model(location, **given)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A network as torchvision publishes it, and its file: 21 classes and an auxiliary classifier."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    network = get_model("fcn_resnet50", weights=None, weights_backbone=None, aux_loss=True).eval()
    file = tmp_path_factory.mktemp("published") / "fcn_resnet50.pth"
    torch.save(network.state_dict(), file)
    return network, file


def test_what_it_accepts() -> None:
    assert provider.accepts("torchvision:fcn_resnet50") is Confidence.SURE
    assert provider.accepts("torchvision:") is Confidence.SURE
    for other in ("fcn_resnet50", "torchvision", "python:torchvision:x", "TORCHVISION:x"):
        assert provider.accepts(other) is Confidence.NO


def test_the_scores_are_the_entry_out(published: tuple[torch.nn.Module, Path]) -> None:
    network, file = published
    model = load(FCN, checkpoint=file)
    images = torch.randn(2, 3, 41, 66)
    with torch.no_grad():
        assert torch.equal(model.module(images), network(images)["out"])
    assert not any("aux" in name for name in model.module.state_dict())
    limits = model.input_limits()
    assert limits == InputLimits(minimum=(1, 1), multiple_of=1)


@pytest.mark.slow
def test_weights_as_torchvision_publishes_them(
    published: tuple[torch.nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file = published
    told = Told()
    meta = load(FCN, checkpoint=file, told=told).meta
    assert meta.classes[:3] == ("__background__", "aeroplane", "bicycle")
    assert meta.palette == named_palette("pascal_voc", 21)
    assert (meta.name, meta.out_channels, meta.output_stride) == ("fcn_resnet50", 21, 1)
    assert meta.extra["torchvision"]["preset"] == "FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"
    assert "torchvision" in meta.versions
    aux, prepared, classes = told.notes
    assert "the auxiliary classifier of the checkpoint is left out" in aux
    assert (
        "the short edge resized to 520, pixels of 0 to 1 normalised with mean 0.485 0.456 0.406" in prepared
    )
    assert "21 classes, which are taken for those of FCN_ResNet50_Weights" in classes
    assert told.warnings == []

    from torchvision.models.segmentation import FCN_ResNet50_Weights

    beginning = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    weights = FCN_ResNet50_Weights.DEFAULT.value
    monkeypatch.setattr(weights, "url", f"models/fcn_resnet50_coco-{beginning}.pth")
    told = Told()
    load(FCN, checkpoint=file, told=told)
    assert len(told.notes) == 1  # nothing is assumed: it is torchvision's own file


@pytest.mark.slow
def test_the_auxiliary_classifier_is_there_for_training(published: tuple[torch.nn.Module, Path]) -> None:
    network, file = published
    for model in (
        load(FCN, checkpoint=file, for_training=True),
        load(FCN, checkpoint=file, cfg_options={"aux_loss": "true"}),
    ):
        own = {name.removeprefix("network."): value for name, value in model.module.state_dict().items()}
        assert own.keys() == network.state_dict().keys()
        assert all(torch.equal(own[name], value) for name, value in network.state_dict().items())


def test_a_checkpoint_says_how_many_classes(lraspp: Path) -> None:
    told = Told()
    meta = load(checkpoint=lraspp, told=told).meta
    assert meta.classes == tuple(f"class {number}" for number in range(5))
    assert told.warnings == ["no classes are named: they are called class 0, class 1, ..."]
    assert load(checkpoint=lraspp, cfg_options={"num_classes": 5}).meta.num_classes == 5
    names = ("road", "building", "vegetation", "sky", "car")
    told = Told()
    model = load(checkpoint=lraspp, classes=names, resize_size=0, mean=(1.0,), std=(2.0,), told=told)
    assert model.meta.classes == names
    assert (told.warnings, told.notes) == ([], [])
    assert find_steps(model.meta.preprocessing, Normalize) == [Normalize((1.0,) * 3, (2.0,) * 3)]
    assert find_steps(model.meta.preprocessing, Scale) == []


def test_one_of_mean_and_std_leaves_the_other_as_the_weights_say(lraspp: Path) -> None:
    steps = load(checkpoint=lraspp, mean=(100.0, 110.0, 120.0)).meta.preprocessing
    (step,) = find_steps(steps, Normalize)
    assert step.mean == (100.0, 110.0, 120.0)
    assert np.allclose(step.std, (0.229 * 255, 0.224 * 255, 0.225 * 255))


def test_without_a_checkpoint_the_weights_are_random() -> None:
    told = Told()
    model = load(cfg_options={"num_classes": "3"}, told=told)
    assert model.meta.num_classes == 3
    assert told.warnings[0] == "no checkpoint is given: the weights are random"
    told = Told()
    load(structure_only=True, told=told)
    assert (told.warnings, told.notes) == ([], [])


@pytest.mark.parametrize("wrapped", ["model", "module.", "_orig_mod.", "model.", "safetensors"])
def test_forms_of_checkpoints(lraspp: Path, tmp_path: Path, wrapped: str) -> None:
    state = torch.load(lraspp, weights_only=True)
    file = tmp_path / "checkpoint.pth"
    if wrapped == "model":  # as torchvision's reference scripts write it
        rest = {"optimizer": {}, "lr_scheduler": {}, "epoch": 3, "args": argparse.Namespace(lr=0.01)}
        torch.save({"model": state, **rest}, file)
    elif wrapped == "safetensors":
        from safetensors.torch import save_file

        file = tmp_path / "checkpoint.safetensors"
        save_file(state, file)
    else:
        torch.save({f"{wrapped}{name}": value for name, value in state.items()}, file)
    images = torch.randn(1, 3, 33, 47)
    assert torch.equal(load(checkpoint=file).module(images), load(checkpoint=lraspp).module(images))


def test_nothing_is_fetched(lraspp: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket is opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    load(checkpoint=lraspp)
    load("torchvision:deeplabv3_mobilenet_v3_large", structure_only=True)
    assert not (tmp_path / "cache").exists()


def test_sizes_and_windows() -> None:
    def resize(**options: Any) -> list[Resize]:
        return find_steps(load(structure_only=True, **options).meta.preprocessing, Resize)

    like = {"algorithm": "pillow", "filter": "bilinear"}
    (usual,) = resize()
    assert usual == Resize((520, 520), fit="shortest", rounding="down", **like)
    assert resize(resize=(64, 96)) == [Resize((96, 64), **like)]
    assert resize(resize=(64, 96), keep_ratio=True) == [Resize((96, 64), fit="inside", **like)]
    (other,) = resize(resize_algorithm="torchvision", resize_filter="bicubic")
    assert (other.fit, other.algorithm, other.filter) == ("shortest", "torchvision", "bicubic")
    assert resize(crop_size=(64, 64)) == []
    (slides,) = resize(crop_size=(64, 64), resize_size=80)
    assert slides.scale == (80, 80)
    model = load(structure_only=True, crop_size=(64, 96), stride=(43, 64))
    assert model.meta.inference == Inference("slide", crop_size=(64, 96), stride=(43, 64))
    assert model.meta.input_size == (64, 96)


def test_windows_are_over_the_image_at_its_own_size(lraspp: Path) -> None:
    app = Segplug()
    image = torchvision_zoo.sample_image(64, 120)
    model = app.load_model(LRASPP, checkpoint=lraspp, crop_size=(64, 64), stride=(64, 56))
    with app.open(model) as engine:
        found = app.predict(engine, image, logits=True).logits
    pixels = torchvision_zoo.preprocess(image, 64)
    left, right = (model.module(pixels[..., start : start + 64])[0] for start in (0, 56))
    expected = torch.zeros(5, 64, 120)
    expected[:, :, :64] += left
    expected[:, :, 56:] += right
    expected[:, :, 56:64] /= 2
    assert np.abs(found - expected.numpy()).max() < 5e-5


def test_the_model_loads_again_from_its_arguments(lraspp: Path, tmp_path: Path) -> None:
    shutil.copy(lraspp, tmp_path / "w.pth")
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    model = load(checkpoint=tmp_path / "w.pth", classes=(str(names),), resize_size=64)
    assert model.meta.classes == ("a", "b", "c", "d", "e")
    assert model.files == (names,)
    again = model.load_arguments
    assert again is not None
    assert (again.config, again.checkpoint) == (LRASPP, str(tmp_path / "w.pth"))
    assert again.options == {"classes": (str(names),), "resize_size": 64}
