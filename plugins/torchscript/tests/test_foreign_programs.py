"""torch.export programs of other tools as models: their channels, batches and sizes are read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segplug_torchscript.load_program import provider as programs
from segplug_torchscript.load_torchscript import provider as scripts
from torch.export import Dim
from torchscript_support.foreign import NETWORKS, Body, save_program

from segplug import Segplug
from segplug.errors import ArtifactError, ModelError, UntrustedError, UsageError
from segplug.model import InputLimits, SegmentationModel
from segplug.progress import QuietReporter
from segplug.providers import Confidence

GIVEN = {"mean": "120", "std": "60", "classes": "3", "trust_artifact": True}
ANY = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)


def load(path: Path, **given: Any) -> SegmentationModel:
    return Segplug(reporter=QuietReporter()).load_model(path, **{**GIVEN, **given})


def images_of(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(scope="module")
def fixed(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """A dict of scores of one image of four bands and one size."""
    path = tmp_path_factory.mktemp("fixed") / "net.pt2"
    return path, save_program(path, NETWORKS["dict"](channels=4), (1, 4, 48, 80))


@pytest.fixture(scope="module")
def free(tmp_path_factory) -> tuple[Path, torch.nn.Module]:
    """A tuple of scores of any number of images of any size."""
    path = tmp_path_factory.mktemp("free") / "net.pt2"
    return path, save_program(path, NETWORKS["tuple"](), (2, 3, 48, 80), ANY)


def test_a_program_of_one_size(fixed, tmp_path):
    path, network = fixed
    model = load(path, output_key="out")
    alone = InputLimits((48, 80), maximum=(48, 80))
    assert (model.meta.in_channels, model.meta.input_size, model.meta.input_limits) == (4, (48, 80), alone)
    assert model.input_limits() == alone
    images = images_of(2, 4, 48, 80)  # the file takes one: it runs twice
    expected = torch.cat([network(image[None])["out"] for image in images])
    assert torch.equal(model.module(images), expected)
    sp = Segplug(reporter=QuietReporter())
    sp.export("torchscript", model, output=tmp_path / "net.pt")
    with sp.open(tmp_path / "net.pt") as engine:
        np.testing.assert_allclose(engine.run(images[:1].numpy()), expected[:1].detach().numpy(), atol=1e-5)
    with pytest.raises(ModelError, match="takes one image at a time") as caught:
        sp.export("torch-export", model, output=tmp_path / "free.pt2", dynamic=True)
    assert "--dynamic" in caught.value.hint
    assert not (tmp_path / "free.pt2").exists()


def test_another_size_than_that_of_the_file(fixed):
    with pytest.raises(UsageError, match=r"net\.pt2 is made for images of 48x80 only"):
        load(fixed[0], output_key="out", input_size=(64, 64))


def test_a_program_of_any_size(free, tmp_path):
    path, network = free
    model = load(path, output_key="1")
    assert (model.meta.output_stride, model.meta.input_limits) == (4, None)
    for shape in ((1, 3, 48, 80), (3, 3, 37, 53)):
        images = images_of(*shape)
        assert torch.equal(model.module(images), network(images)[1])


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_an_onnx_file_gives_the_networks_own_labels(fixed, free, tmp_path, dynamic):
    pytest.importorskip("segplug_onnx")
    path, network = free if dynamic else fixed
    key: Any = 1 if dynamic else "out"
    sp, output = Segplug(reporter=QuietReporter()), tmp_path / "net.onnx"
    model = load(path, output_key=str(key))
    artifact = sp.export("onnx", model, output=output, dynamic=dynamic, output_kind="logits", verify=True)
    assert artifact.meta.verification["passed"]
    with sp.open(output) as engine:
        for shape in ((1, 3, 37, 53), (2, 3, 64, 41)) if dynamic else ((1, 4, 48, 80),):
            images = images_of(*shape)
            expected = network(images)[key].detach().numpy()
            answer = engine.run(images.numpy())
            np.testing.assert_allclose(answer, expected, atol=1e-4)
            assert np.array_equal(answer.argmax(1), expected.argmax(1))


@pytest.mark.parametrize(
    ("height", "width", "limits"),
    [
        (Dim("h", min=32, max=200), Dim("w", min=40, max=300), InputLimits((32, 40), maximum=(200, 300))),
        (8 * Dim("h", max=50), 8 * Dim("w", max=50), InputLimits((8, 8), 8, (400, 400))),
    ],
    ids=["ranges", "multiples"],
)
def test_ranges_are_limits(tmp_path, height, width, limits):
    path = tmp_path / "net.pt2"
    save_program(path, Body(), (1, 3, 64, 96), ({2: height, 3: width},))
    assert load(path).meta.input_limits == limits


@pytest.mark.parametrize(
    ("shape", "free", "message"),
    [
        ((4, 3, 48, 48), None, "takes batches of 4 images only"),
        ((2, 3, 48, 48), ({2: (edge := Dim("edge", min=32)), 3: edge},), "takes batches of 2 images only"),
        ((1, 3, 48, 48), ({2: edge, 3: edge},), "takes square images of any size only"),
    ],
)
def test_inputs_that_no_model_has(tmp_path, shape, free, message):
    path = tmp_path / "net.pt2"
    save_program(path, Body(), shape, free)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert caught.value.hint.startswith("export it with")


class Two(torch.nn.Module):
    def forward(self, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return images * mask


class Flat(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + 1


@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (Two(), (torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)), "takes 2 inputs, and one is expected"),
        (Flat(), (torch.zeros(3, 8, 8),), "takes float32 of 3x8x8, and float32 images"),
        (Flat(), (torch.zeros(1, 3, 8, 8, dtype=torch.uint8),), "takes uint8 of 1x3x8x8, and float32 images"),
    ],
)
def test_what_takes_no_images(tmp_path, network, inputs, message):
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(network, inputs), path)
    with pytest.raises(ModelError, match=message):
        load(path)


def test_outputs_are_named(fixed, free):
    with pytest.raises(ModelError, match=r"48x80 image a dict with the keys 'out', 'aux'") as caught:
        load(fixed[0])
    assert "--output-key out" in caught.value.hint
    with pytest.raises(ModelError, match="output_key is 5, and the network returns a tuple of 2"):
        load(free[0], output_key="5")


def test_a_program_with_lines_of_source_code_needs_trust(fixed):
    assert programs.accepts(str(fixed[0])) is Confidence.LIKELY
    assert scripts.accepts(str(fixed[0])) is Confidence.NO
    with pytest.raises(UntrustedError, match="stack_trace") as caught:
        load(fixed[0], output_key="out", trust_artifact=False)
    assert "--trust-artifact" in caught.value.hint


@pytest.mark.slow
def test_a_file_of_segplugs_needs_no_flags(free, tmp_path):
    sp = Segplug(reporter=QuietReporter())
    own = tmp_path / "own.pt2"
    sp.export("torch-export", load(free[0], output_key="1", classes="a,b,c"), output=own, dynamic=True)
    assert programs.accepts(str(own)) is Confidence.NO
    model = sp.load_model(own, source="torch-export")
    assert model.meta.classes == ("a", "b", "c")
    images = images_of(2, 3, 37, 53)
    with sp.open(own) as engine:
        assert np.array_equal(model.module(images).numpy(), engine.run(images.numpy()))


def test_what_is_no_program(free, tmp_path):
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(free[0].read_bytes()[:5000])
    with pytest.raises(ArtifactError, match=r"cut\.pt2 is no file of PyTorch's, or is damaged"):
        load(cut, source="torch-export")
    weights = tmp_path / "weights.pt2"
    torch.save(Body().state_dict(), weights)
    with pytest.raises(ArtifactError, match="a file of weights without a network"):
        load(weights, source="torch-export")
