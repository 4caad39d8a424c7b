"""TorchScript files of other tools as models: what they give, what they become, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segplug_torchscript.load_program import provider as programs
from segplug_torchscript.load_torchscript import provider as scripts
from torchscript_support.foreign import NETWORKS, Body, save_script

from segplug import Segplug
from segplug.errors import ArtifactError, ModelError, UntrustedError, UsageError
from segplug.model import InputLimits, SegmentationModel
from segplug.preprocessing import ChannelOrder, Normalize
from segplug.progress import QuietReporter
from segplug.providers import Confidence

KEYS = {"dict": "out", "tuple": "1", "named": "scores"}
GIVEN = {"mean": "120", "std": "60", "classes": "3"}


def load(path: Path, **given: Any) -> SegmentationModel:
    return Segplug(reporter=QuietReporter()).load_model(path, **{**GIVEN, **given})


def saved(folder: Path, kind: str, *, trace: bool = False, **arguments: Any) -> tuple[Path, torch.nn.Module]:
    path = folder / "net.pt"
    network = NETWORKS[kind](**arguments)
    channels = arguments.get("channels", 3)
    return path, save_script(path, network, trace=(1, channels, 64, 96) if trace else None)


def scores_of(network: torch.nn.Module, kind: str, images: torch.Tensor) -> torch.Tensor:
    outputs = network(images)
    key = KEYS.get(kind)
    if key is None:
        return outputs
    return outputs[key] if kind == "dict" else getattr(outputs, key) if kind == "named" else outputs[int(key)]


def images_of(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("trace", [True, False], ids=["traced", "scripted"])
@pytest.mark.parametrize("kind", ["plain", "dict", "tuple", "named", "probabilities", "padding", "pooling"])
def test_a_file_as_a_model_gives_what_its_network_gives(tmp_path, kind, trace):
    path, network = saved(tmp_path, kind, trace=trace)
    key = "0" if kind == "named" and trace else KEYS.get(kind)  # a trace keeps no names of a named tuple
    model = load(path, output_key=key, scores="probabilities" if kind == "probabilities" else "logits")
    form = model.exportable()
    for shape in ((1, 3, 64, 96), (2, 3, 37, 53), (2, 3, 128, 71)):
        images = images_of(*shape)
        with torch.no_grad():
            expected, answer, followed = scores_of(network, kind, images), model.module(images), form(images)
        assert torch.equal(answer, expected)
        torch.testing.assert_close(followed, expected, atol=1e-6, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_the_metadata_says_what_the_flags_say_and_which_file_it_was(tmp_path):
    path, _ = saved(tmp_path, "plain", channels=4, classes=2)
    meta = load(path, in_channels=4, classes="field,forest", mean="7", std="2", decoding="bands").meta
    assert (meta.name, meta.classes, meta.in_channels) == ("net", ("field", "forest"), 4)
    assert (meta.output_stride, meta.out_channels, meta.activation) == (4, 2, "softmax")
    assert meta.preprocessing == (Normalize((7.0,) * 4, (2.0,) * 4),)
    assert meta.provenance.config == str(path)
    assert len(meta.provenance.config_sha256) == 64
    assert {"torch", "segplug-torchscript"} <= set(meta.versions)


def test_one_channel_and_several_sigmoids(tmp_path):
    path, _ = saved(tmp_path, "plain", classes=1)
    assert (load(path, classes="1").meta.activation, load(path, classes="1").meta.threshold) == (
        "sigmoid",
        0.5,
    )
    path, _ = saved(tmp_path, "plain", classes=3)
    meta = load(path, multilabel=True, threshold=0.3).meta
    assert (meta.multilabel, meta.threshold) == (True, 0.3)


CASES = [
    ("dict", True), ("tuple", False), ("padding", True),
    pytest.param("pooling", False, marks=pytest.mark.nightly),
    pytest.param("probabilities", True, marks=pytest.mark.nightly),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "trace"), CASES)
def test_an_onnx_file_of_any_size_gives_the_networks_own_labels(tmp_path, kind, trace):
    pytest.importorskip("segplug_onnx")
    path, network = saved(tmp_path, kind, trace=trace, channels=4)
    model = load(
        path,
        output_key=KEYS.get(kind),
        in_channels=4,
        scores="probabilities" if kind == "probabilities" else "logits",
    )
    sp, output = Segplug(reporter=QuietReporter()), tmp_path / "net.onnx"
    artifact = sp.export(
        "onnx", model, output=output, shape=(64, 96), dynamic=True, output_kind="logits", verify=True
    )
    assert artifact.meta.verification["passed"]
    with sp.open(output) as engine:
        for shape in ((1, 4, 37, 53), (2, 4, 64, 41)):
            images = images_of(*shape)
            expected = scores_of(network, kind, images).detach().numpy()
            answer = engine.run(images.numpy())
            np.testing.assert_allclose(answer, expected, atol=1e-4)
            assert np.array_equal(answer.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("target", ["torchscript", pytest.param("torch-export", marks=pytest.mark.slow)])
def test_it_is_packed_again_with_its_metadata(tmp_path, target):
    path, network = saved(tmp_path, "padding", trace=True)
    output = tmp_path / ("again.pt" if target == "torchscript" else "again.pt2")
    sp = Segplug(reporter=QuietReporter())
    sp.export(target, load(path), output=output, dynamic=True)
    assert scripts.accepts(str(output)) is programs.accepts(str(output)) is Confidence.NO  # an artifact
    images = images_of(2, 3, 51, 66)
    with sp.open(output) as engine:
        np.testing.assert_allclose(engine.run(images.numpy()), network(images).detach().numpy(), atol=1e-5)


def test_a_network_that_decides_by_sizes_is_exported_for_one(tmp_path):
    path, network = saved(tmp_path, "by size")
    model, sp = load(path), Segplug(reporter=QuietReporter())
    for size in ((64, 96), (120, 96)):
        output = tmp_path / f"{size[0]}.pt2"
        sp.export("torch-export", model, output=output, shape=size)
        images = images_of(1, 3, *size)
        with sp.open(output) as engine:
            assert np.allclose(engine.run(images.numpy()), network(images).detach().numpy(), atol=1e-5)
    with pytest.raises(ModelError, match="decides by the size of the image what it computes") as caught:
        sp.export("torch-export", model, output=tmp_path / "free.pt2", dynamic=True)
    assert "--shape" in caught.value.hint
    assert not (tmp_path / "free.pt2").exists()


@pytest.mark.parametrize(
    ("kind", "message"),
    [("by value", "cannot follow"), ("counting", "changes itself when it runs")],
)
def test_what_no_exporter_can_follow_is_refused(tmp_path, kind, message):
    path, network = saved(tmp_path, kind)
    model, images = load(path), images_of(1, 3, 64, 96)
    assert torch.equal(model.module(images), network(images))  # infer pytorch runs it
    with pytest.raises(ModelError, match=message):
        Segplug(reporter=QuietReporter()).export(
            "torch-export", model, output=tmp_path / "net.pt2", shape=(64, 96)
        )
    assert not (tmp_path / "net.pt2").exists()


def test_a_network_that_froze_a_size_is_a_model_of_that_size(tmp_path):
    path, network = saved(tmp_path, "frozen", trace=True)
    with pytest.raises(ModelError, match="for a 64x64 image a tensor of 1x3x48x64") as caught:
        load(path)
    assert caught.value.hint == "if it is for images of one size, name that: --input-size HEIGHT WIDTH"
    model = load(path, input_size=(96, 128))
    alone = InputLimits((96, 128), maximum=(96, 128))
    assert (model.meta.output_stride, model.meta.input_limits, model.input_limits()) == (2, alone, alone)
    sp = Segplug(reporter=QuietReporter())
    sp.export("torch-export", model, output=tmp_path / "net.pt2")
    images = images_of(1, 3, 96, 128)
    with sp.open(tmp_path / "net.pt2") as engine:
        assert np.allclose(engine.run(images.numpy()), network(images).detach().numpy(), atol=1e-5)


class TestFilesOfSegplug:
    @pytest.fixture
    def own(self, tmp_path):
        """A file that segplug wrote, of one size."""
        path, _ = saved(tmp_path, "plain", trace=True)
        output = tmp_path / "own.pt"
        Segplug(reporter=QuietReporter()).export(
            "torchscript", load(path, classes="a,b,c", mean="1"), output=output, shape=(64, 96)
        )
        return output

    def test_they_know_how_they_are_used(self, own, tmp_path):
        sp = Segplug(reporter=QuietReporter())
        model = sp.load_model(own, source="torchscript")
        assert (model.meta.classes, model.meta.input_size) == (("a", "b", "c"), (64, 96))
        assert model.meta.preprocessing == (ChannelOrder(), Normalize((1.0,) * 3, (60.0,) * 3))
        assert model.meta.provenance.config == str(own)
        assert "torchscript" not in model.meta.extra
        images = images_of(2, 3, 64, 96)
        with sp.open(own) as engine:
            expected = np.concatenate([engine.run(images[one : one + 1].numpy()) for one in (0, 1)])
        assert np.array_equal(model.module(images).numpy(), expected)
        sp.export("torch-export", model, output=tmp_path / "again.pt2")
        assert sp.read_meta(tmp_path / "again.pt2").classes == ("a", "b", "c")

    def test_facts_that_the_file_says_are_not_given(self, own):
        with pytest.raises(UsageError, match=r"own\.pt says how it is used") as caught:
            load(own, source="torchscript", output_key="out")
        assert caught.value.hint == "leave out --mean, --std, --classes, --output-key"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"checkpoint": "net.pt"}, UsageError, "the weights are in net.pt (leave out --checkpoint)"),
        ({"cfg_options": {"a": 1}}, UsageError, "net.pt has no settings that could be changed"),
        ({"output_key": "ot"}, ModelError, "the network returns no output 'ot'; did you mean 'out'?"),
        ({"output_key": "7"}, ModelError, "it returns a dict of out, aux"),
        ({}, ModelError, "say which output holds the scores, such as --output-key out: out (1x3x64x64)"),
        ({"in_channels": 4, "output_key": "out"}, ModelError, "in_channels is 4, and the network takes 3"),
        ({"classes": "2", "output_key": "out"}, ModelError, "2 classes are named, and the network's scores"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, monkeypatch, given, error, message):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, "dict")
    with pytest.raises(error) as caught:
        load(Path("net.pt"), **given)
    text = f"{caught.value.message} ({caught.value.hint})"
    assert message in text
    assert "\n" not in text


def test_a_tuple_has_numbers(tmp_path):
    path, _ = saved(tmp_path, "tuple")
    with pytest.raises(ModelError, match="output_key is 2, and the network returns a tuple of 2"):
        load(path, output_key="2")


def test_what_is_no_network(tmp_path):
    weights = tmp_path / "weights.pt"
    torch.save(Body().state_dict(), weights)
    assert scripts.accepts(str(weights)) is Confidence.NO
    with pytest.raises(ArtifactError, match="is a file of weights without a network, not a TorchScript file"):
        load(weights, source="torchscript")
    with pytest.raises(UsageError, match="there is no file"):
        load(tmp_path / "none.pt", source="torchscript")
    path, _ = saved(tmp_path, "plain")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(path.read_bytes()[:2000])
    assert scripts.accepts(str(cut)) is Confidence.NO
    with pytest.raises(ArtifactError, match=r"cut\.pt is no file of PyTorch's, or is damaged"):
        load(cut, source="torchscript")
    assert scripts.accepts(str(path)) is Confidence.LIKELY
    assert programs.accepts(str(path)) is Confidence.NO
    assert scripts.accepts(str(shutil.copy(path, tmp_path / "net.zip"))) is Confidence.NO
    assert scripts.accepts(str(tmp_path)) is Confidence.NO


class Positions(torch.nn.Module):
    """Makes a tensor of its own, whose device is in the graph of a trace."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": images + torch.arange(images.shape[3], device=images.device)}


def test_a_model_makes_its_tensors_where_it_is_put(tmp_path):
    path = tmp_path / "net.pt"
    save_script(path, Positions(), trace=(1, 3, 64, 96))
    moved = load(path, output_key="out").module.to("meta")
    assert moved(torch.zeros(1, 3, 64, 96, device="meta")).device.type == "meta"


class Half(Body):
    def __init__(self) -> None:
        super().__init__()
        self.half()


def test_half_precision_is_refused_by_name(tmp_path):
    path = tmp_path / "half.pt"
    torch.jit.save(torch.jit.script(Half().eval()), str(path))
    with pytest.raises(ModelError, match="the weights of the network are float16"):
        load(path)


def test_a_file_that_does_more_than_compute_needs_trust(tmp_path):
    path = tmp_path / "net.pt"

    class Printing(Body):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            print("hello")
            return self.head(self.stem(images))

    torch.jit.save(torch.jit.script(Printing().eval()), str(path))
    with pytest.raises(UntrustedError, match="uses print") as caught:
        load(path)
    assert "--trust-artifact" in caught.value.hint
    model = load(path, trust_artifact=True)
    assert model.load_arguments.trust_artifact
    with pytest.raises(ModelError, match="a part that segplug cannot follow: prim::Print"):
        model.exportable()


def test_an_artifact_of_another_tool_says_how_it_is_run(tmp_path):
    path, _ = saved(tmp_path, "plain")
    sp = Segplug(reporter=QuietReporter())
    with pytest.raises(ArtifactError, match="segplug did not write it") as caught, sp.open(path):
        pass
    assert f"segplug infer pytorch {path} --mean ... --std ... --classes ..." in caught.value.hint
    info = sp.info(path)
    assert f"segplug predict {path} photo.jpg --mean ... --std ... --classes ..." in info.next
    with sp.open(load(path)) as engine:
        assert engine.spec.meta.name == "net"
