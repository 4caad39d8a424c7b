"""Folders of smp as models: the network is smp's own, strictly loaded, without anything that is fetched."""

from __future__ import annotations

import builtins
import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from segplug_smp.activation import meaning
from smp_support.networks import OWN, TINY, network, saved

from segplug import Segplug
from segplug.errors import CheckpointError, MissingDependencyError, ModelError, UsageError
from segplug.model import InputLimits
from segplug.preprocessing import Decoding, Normalize, Pad, Resize, find_steps
from segplug.progress import QuietReporter


def load(folder: Path, reporter: Any = None, **given: Any) -> Any:
    return Segplug(reporter=reporter or QuietReporter()).load_model(folder, **given)


def told(folder: Path, **given: Any) -> list[str]:
    reporter = QuietReporter()
    load(folder, reporter, **given)
    return reporter.warnings


def change(folder: Path, **values: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return folder


def same(model: Any, folder: Path, size: tuple[int, int] = (64, 96)) -> bool:
    images = torch.randn(2, model.meta.in_channels, *size)
    with torch.inference_mode():
        return torch.equal(model.module(images), smp.from_pretrained(str(folder)).eval()(images))


def test_the_network_is_the_one_of_smp(unet: Path) -> None:
    model = load(unet)
    assert same(model, unet, (65, 97))
    images = torch.randn(1, 3, 65, 97)
    assert torch.allclose(model.exportable()(images), model.module(images), atol=1e-5)
    assert model.input_limits() == InputLimits((1, 1))
    meta = model.meta
    assert (meta.name, meta.in_channels, meta.out_channels, meta.output_stride) == ("unet", 3, 3, 1)
    assert (meta.scores, meta.activation, meta.threshold) == ("logits", "softmax", None)
    assert meta.classes == ("class 0", "class 1", "class 2")
    assert meta.provenance.checkpoint == str(unet / "model.safetensors")
    assert meta.versions["segmentation-models-pytorch"] == smp.__version__
    assert meta.extra["smp"]["_model_class"] == "Unet"
    assert meta.extra["smp"]["arguments"]["encoder_name"] == TINY
    assert set(model.files) == {unet / "config.json", unet / "model.safetensors"}


def test_what_is_assumed_is_said_in_one_line(unet: Path) -> None:
    first, second = told(unet)
    assert first == (
        "the folder does not say how images are prepared; assumed: pixels are RGB with mean 127.5 127.5 "
        "127.5 and std 127.5 127.5 127.5, those of timm's test_resnet.r160_in1k (--mean, --std)"
    )
    assert second.startswith("no classes are named")
    assert told(unet, mean=(0, 0, 0), std=(255, 255, 255), classes=("a", "b", "c")) == []


def test_a_mean_alone_leaves_the_deviation_of_the_encoder(unet: Path) -> None:
    reporter = QuietReporter()
    values = load(unet, reporter, mean=(7, 8, 9), classes=("a", "b", "c")).meta.preprocessing
    assert find_steps(values, Normalize) == [Normalize((7.0, 8.0, 9.0), (127.5,) * 3)]
    (said,) = reporter.warnings
    assert "pixels are RGB with std 127.5 127.5 127.5, that of timm's" in said


def test_nothing_is_fetched(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert same_but(copy, encoder_weights=True)
    saved(tmp_path / "own", "FPN", OWN)
    assert same_but(tmp_path / "own", encoder_weights="imagenet")
    for name in ("tu-hf-hub:timm/resnet18", "tu-local-dir:/tmp", "tu-resnet9"):
        change(copy, encoder_name=name)
        with pytest.raises(ModelError, match=r"timm .* has no encoder"):
            load(copy)
    change(copy, encoder_name=TINY, checkpoint_path="/etc/passwd")
    with pytest.raises(ModelError, match="'checkpoint_path' of the encoder reads weights from elsewhere"):
        load(copy)


def same_but(folder: Path, **values: Any) -> bool:
    """Whether the network is the same with other values in the config."""
    images = torch.randn(1, 3, 64, 64)
    before = load(folder).module(images)
    return torch.equal(before, load(change(folder, **values)).module(images))


@pytest.mark.parametrize(
    ("activation", "one", "several"),
    [
        (None, "none", "none"),
        ("identity", "none", "none"),
        ("sigmoid", "sigmoid", "sigmoid"),
        ("softmax2d", "makes all scores equal", "softmax"),
        ("softmax", "makes all scores equal", "softmax"),
        ("logsoftmax", "makes all scores equal", "softmax"),
        ("argmax2d", "makes all scores equal", "softmax"),
        ("tanh", "is none whose labels follow", "softmax"),
        ("clamp", "is none whose labels follow", "is none whose labels follow"),
        (["sigmoid"], "is none whose labels follow", "is none whose labels follow"),
    ],
)
def test_what_an_activation_says(activation: Any, one: str, several: str) -> None:
    for classes, expected in ((1, one), (3, several)):
        if " " in expected:
            with pytest.raises(ModelError, match=f"config.json: the activation .* {expected}"):
                meaning(activation, classes, "config.json")
        else:
            assert meaning(activation, classes, "config.json") == expected


@pytest.mark.parametrize(
    "activation", ["sigmoid", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tanh", "argmax2d"))]
)
def test_an_activation_is_taken_out(copy: Path, activation: str) -> None:
    images = torch.randn(1, 3, 64, 96)
    plain = smp.from_pretrained(str(copy)).eval()(images)
    change(copy, activation=activation)
    reporter = QuietReporter()
    model = load(copy, reporter)
    assert torch.equal(model.module(images), plain)
    sigmoid = activation == "sigmoid"
    assert (model.meta.activation, model.meta.threshold) == (
        ("sigmoid", 0.5) if sigmoid else ("softmax", None)
    )
    assert any("(multilabel)" in text for text in reporter.warnings) == sigmoid
    theirs = smp.from_pretrained(str(copy)).eval()(images)
    if sigmoid:
        assert torch.equal(theirs > 0.5, plain > 0)
    else:
        labels = theirs if activation == "argmax2d" else theirs.argmax(1)
        assert (labels == plain.argmax(1)).float().mean() > 0.999  # tanh rounds large scores to 1


@pytest.mark.slow
def test_an_activation_of_dpt_is_taken_out(tmp_path: Path) -> None:
    made = saved(tmp_path / "net", "DPT", "tu-test_vit", activation="sigmoid", classes=1)
    images = torch.randn(1, 3, 64, 96)
    model = load(tmp_path / "net")
    assert torch.allclose(model.module(images).sigmoid(), made(images))
    assert (model.meta.activation, model.meta.threshold) == ("sigmoid", 0.5)


@pytest.mark.slow
def test_each_class_alone_or_not(copy: Path) -> None:
    meta = load(copy, multilabel=True, threshold=0.3).meta
    assert (meta.activation, meta.threshold, meta.out_channels) == ("sigmoid", 0.3, 3)
    change(copy, activation="sigmoid")
    assert load(copy).meta.activation == "sigmoid"
    assert load(copy, cfg_options={"activation": "softmax2d"}).meta.activation == "softmax"
    assert load(copy, cfg_options={"activation": "None"}).meta.activation == "softmax"


@pytest.mark.parametrize("channels", [1, pytest.param(13, marks=pytest.mark.slow)])
def test_images_of_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    saved(tmp_path / "net", "Linknet", in_channels=channels, classes=1, activation="sigmoid")
    reporter = QuietReporter()
    model = load(tmp_path / "net", reporter)
    assert model.meta.in_channels == channels
    assert model.meta.decoding == Decoding.for_channels(channels)
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    assert find_steps(model.meta.preprocessing, Normalize) == [Normalize(zeros, ones)]
    assert any("the network gets the pixels as they are" in text for text in reporter.warnings)
    assert (model.meta.activation, model.meta.threshold, model.meta.out_channels) == ("sigmoid", 0.5, 1)
    values = load(tmp_path / "net", mean=(7,), std=(9,)).meta.preprocessing
    assert find_steps(values, Normalize) == [Normalize((7.0,) * channels, (9.0,) * channels)]


def test_a_network_that_takes_multiples(tmp_path: Path) -> None:
    saved(tmp_path / "net", "FPN")
    model = load(tmp_path / "net")
    assert model.meta.preprocessing[-1] == Pad(divisor=32)
    assert model.input_limits() == InputLimits((64, 64), multiple_of=32)
    assert "padded at the bottom and right to multiples of 32, with 0" in told(tmp_path / "net")[0]
    assert load(tmp_path / "net", resize=(70, 90)).meta.input_size == (96, 96)
    assert find_steps(load(tmp_path / "net", pad_divisor=1).meta.preprocessing, Pad) == []
    for name in ("input_size", "crop_size"):
        with pytest.raises(UsageError, match=rf"{name} is 70x90, and the network takes multiples of 32") as e:
            load(tmp_path / "net", **{name: (70, 90)})
        assert e.value.hint == f"{name}=96,96"


@pytest.mark.slow
def test_a_network_that_takes_one_size(tmp_path: Path) -> None:
    saved(tmp_path / "net", "DPT", "tu-test_vit", dynamic_img_size=False)
    model = load(tmp_path / "net")
    assert model.meta.input_size == (160, 160)
    assert model.meta.preprocessing[0] == Resize(scale=(160, 160))
    assert find_steps(model.meta.preprocessing, Pad) == []
    assert model.input_limits() == InputLimits((160, 160), maximum=(160, 160))
    assert same(model, tmp_path / "net", (160, 160))
    assert "resized to 160x160 (height x width), the only size" in told(tmp_path / "net")[0]
    slide = load(tmp_path / "net", crop_size=(160, 160)).meta
    assert find_steps(slide.preprocessing, Resize) == []
    with pytest.raises(ModelError, match="takes no image of"):
        load(tmp_path / "net", crop_size=(96, 96))


@pytest.mark.slow
def test_a_vision_transformer_of_free_sizes(tmp_path: Path) -> None:
    saved(tmp_path / "net", "DPT", "tu-test_vit", dynamic_img_size=True)
    model = load(tmp_path / "net")
    assert model.meta.preprocessing[-1] == Pad(divisor=16)
    assert model.input_limits() == InputLimits((16, 16), multiple_of=16)
    assert same(model, tmp_path / "net", (80, 112))


def test_a_head_that_classifies_the_image(tmp_path: Path) -> None:
    made = saved(tmp_path / "net", aux_params={"classes": 4, "activation": "softmax"})
    images = torch.randn(1, 3, 64, 64)
    expected = made(images)[0]
    model = load(tmp_path / "net")
    assert torch.equal(model.module(images), expected)
    assert not [name for name in model.module.state_dict() if "classification" in name]
    training = load(tmp_path / "net", for_training=True)
    assert torch.equal(training.module(images), expected)
    assert [name for name in training.module.state_dict() if "classification" in name]


def test_the_structure_alone_needs_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert load(copy, structure_only=True).module(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


@pytest.mark.slow
def test_weights_of_other_files(copy: Path, tmp_path: Path) -> None:
    state = smp.from_pretrained(str(copy)).state_dict()
    images = torch.randn(1, 3, 64, 64)
    expected = load(copy).module(images)
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    assert torch.equal(load(copy).module(images), expected)
    (copy / "pytorch_model.bin").unlink()
    lightning = {"state_dict": {f"model.{name}": value for name, value in state.items()}, "epoch": 3}
    lightning["state_dict"]["std"] = torch.zeros(1)
    for content in (state, lightning, {f"_orig_mod.{name}": value for name, value in state.items()}):
        torch.save(content, tmp_path / "best.ckpt")
        model = load(copy, checkpoint=tmp_path / "best.ckpt")
        assert torch.equal(model.module(images), expected)
        assert model.meta.provenance.checkpoint == str(tmp_path / "best.ckpt")
    two = {f"{name}.{key}": value for name in ("model", "ema") for key, value in state.items()}
    torch.save(two, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match=r"holds several networks: ema\., model\."):
        load(copy, checkpoint=tmp_path / "two.pth")


def test_weights_of_another_encoder(copy: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is of another model: .* missing") as caught:
        load(copy, cfg_options={"encoder_name": OWN})
    assert caught.value.hint == f"the network is Unet with the encoder {OWN}, as in {copy / 'config.json'}"
    with pytest.raises(CheckpointError, match=r"0 keys missing; 0 keys unexpected; 2 keys of another shape"):
        load(copy, cfg_options={"classes": 4})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder_chanels": [1]}, r"has no argument 'decoder_chanels'; did you mean 'decoder_channels'\?"),
        ({"encoder_name": "resnet8"}, r"has no encoder 'resnet8'; did you mean 'resnet18'\?"),
        ({"encoder_name": None}, "names no encoder"),
        ({"decoder_attention_type": "x", "encoder_name": OWN}, r"cannot build Unet .*: Attention x is"),
        ({"classes": "3"}, "classes is '3', not a whole number from 1"),
        ({"in_channels": 0}, "in_channels is 0, not a whole number from 1"),
        ({"in_channels": 10**9}, "in_channels is 1000000000, not a whole number from 1 to 65535"),
    ],
)  # fmt: skip
def test_arguments_that_smp_refuses(copy: Path, values: dict[str, Any], message: str) -> None:
    if "decoder_chanels" in values:
        values = {**values, "encoder_name": OWN}
    with pytest.raises(ModelError, match=message) as caught:
        load(change(copy, **values))
    assert "\n" not in caught.value.message


def test_arguments_of_the_user(copy: Path) -> None:
    with pytest.raises(UsageError, match=r"--cfg-options clases: Unet .* no argument 'clases'") as caught:
        load(copy, cfg_options={"clases": "3", "encoder_name": OWN})
    assert "encoder_name, encoder_depth" in str(caught.value.hint)
    model = load(copy, structure_only=True, cfg_options={"decoder_channels": "[8, 8, 8, 8, 4]"})
    assert model.module.segmentation_head[0].in_channels == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "name", "now"),
    [
        ("Unet", "decoder_use_batchnorm", "decoder_use_norm"),
        ("PSPNet", "psp_use_batchnorm", "decoder_use_norm"),
        ("PAN", "upscale_mode", "decoder_interpolation"),
    ],
)
def test_the_names_that_older_versions_gave_arguments(
    tmp_path: Path, architecture: str, name: str, now: str
) -> None:
    value = {"upscale_mode": "nearest"}.get(name, False)
    saved(tmp_path / "net", architecture, OWN, **{now: value})
    file = tmp_path / "net" / "config.json"
    config = json.loads(file.read_text())
    config[name] = config.pop(now)
    file.write_text(json.dumps(config))
    model = load(tmp_path / "net")
    assert same(model, tmp_path / "net", (128, 128))


def test_a_library_that_is_missing_or_does_not_fit(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(error: Exception) -> Any:
        def imported(name: str, *rest: Any, **more: Any) -> Any:
            if name == "segmentation_models_pytorch":
                raise error
            return real(name, *rest, **more)

        return imported

    missing = ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
    monkeypatch.setattr(builtins, "__import__", broken(missing))
    with pytest.raises(MissingDependencyError, match="need torchvision, which is not installed") as caught:
        load(copy)
    assert caught.value.hint == "pip install torchvision"
    unfit = RuntimeError("operator torchvision::nms does not exist")
    monkeypatch.setattr(builtins, "__import__", broken(unfit))
    with pytest.raises(
        MissingDependencyError, match="cannot be imported: operator torchvision::nms"
    ) as caught:
        load(copy)
    assert "torchvision has to fit the installed torch" in str(caught.value.hint)


def test_numbers_of_nan_are_refused(tmp_path: Path) -> None:
    made = network()
    made.segmentation_head[0].weight.data[0] = np.nan
    made.save_pretrained(tmp_path / "net")
    with pytest.raises(Exception, match=r"NaN|not finite"):
        load(tmp_path / "net")
