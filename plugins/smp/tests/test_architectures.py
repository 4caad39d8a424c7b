"""Every architecture of smp, and an encoder of every kind: files with fixed and with free sizes.

What smp's own network says, read by smp from the same folder, is the truth. At random weights three classes
each cover more than 5% of the sample images (``matrix/smp_zoo.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import torch

from matrix import smp_zoo
from segplug import Segplug
from segplug.model import SegmentationModel

ARCHITECTURES = smp_zoo.NAMES[:12]
QUICK = ("pspnet", "upernet")
"""Those that a plain export gets wrong at other sizes than the sample's."""

OWN = (
    "resnet18",
    "dpn68",
    "vgg11_bn",
    "se_resnet50",
    "densenet121",
    "inceptionresnetv2",
    "inceptionv4",
    "efficientnet-b0",
    "mobilenet_v2",
    "xception",
    "timm-efficientnet-b0",
    "timm-tf_efficientnet_lite0",
    "timm-skresnet18",
    "mit_b0",
    "mobileone_s0",
)
"""An encoder of each of smp's own families."""

TIMM = (
    "tu-resnet18",
    "tu-convnext_atto",
    "tu-tf_mobilenetv3_small_minimal_100",
    "tu-tf_efficientnetv2_b0",
    "tu-regnetx_002",
    "tu-hgnetv2_b0",
    "tu-mambaout_femto",
    "tu-resnetv2_50x1_bit",
    "tu-test_nfnet",
)

SIZES = [(1, 104, 136), (2, 135, 97), (3, 65, 203)]
"""Batch, height and width; networks that need multiples get the next larger ones."""

SHAPE = (96, 160)
TIE = 1e-4
"""Where the two largest scores differ by less than this share of their range, rounding may decide."""


def test_there_is_every_architecture() -> None:
    exported = {
        name
        for name in dir(smp)
        if isinstance(getattr(smp, name), type) and issubclass(getattr(smp, name), smp.base.SegmentationModel)
    }
    assert {smp_zoo.ENTRIES[name].architecture for name in ARCHITECTURES} == exported
    assert len(exported) == 12


def test_there_is_every_family_of_encoders() -> None:
    kinds = smp.encoders.encoders
    assert {kinds[name]["encoder"] for name in OWN} == {kind["encoder"] for kind in kinds.values()}


def _sizes(model: SegmentationModel) -> list[tuple[int, int, int]]:
    limits = model.input_limits()
    assert limits is not None
    step, (rows, columns) = limits.multiple_of, limits.minimum
    if limits.is_fixed:
        return [(1, rows, columns), (3, rows, columns)]
    larger = [(batch, max(height, rows), max(width, columns)) for batch, height, width in SIZES]
    return [(batch, height + -height % step, width + -width % step) for batch, height, width in larger]


def _images(shape: tuple[int, int, int]) -> torch.Tensor:
    batch, height, width = shape
    return smp_zoo.inputs(3, (height, width), tuple(range(batch)))


def _same(expected: torch.Tensor, actual: torch.Tensor, limit: float) -> None:
    """The scores are within ``limit`` of their range, and the labels agree away from near-ties."""
    assert actual.shape == expected.shape
    spread = expected.max() - expected.min()
    assert (expected - actual).abs().max() < limit * spread
    first, second = expected.topk(2, dim=1).values.unbind(1)
    clear = first - second > TIE * spread
    assert clear.float().mean() > 0.95
    assert torch.equal(expected.argmax(1)[clear], actual.argmax(1)[clear])


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[SegmentationModel, Any]]:
    """The model that segplug reads from a folder of smp's, and that which smp reads from it."""
    made: dict[str, tuple[SegmentationModel, Any]] = {}

    def read(name: str) -> tuple[SegmentationModel, Any]:
        if name not in made:
            folder = tmp_path_factory.mktemp("zoo") / "network"
            entry = smp_zoo.ENTRIES.get(name) or smp_zoo.Entry(
                "Unet", name, {**smp_zoo.ENTRIES["unet"].arguments}
            )
            network: Any = smp_zoo.build_entry(entry)
            network.save_pretrained(folder)
            options = {"input_size": entry.sizes[0]} if name == "dpt-fixed" else {}
            made[name] = Segplug().load_model(str(folder), **options), smp.from_pretrained(str(folder)).eval()
        return made[name]

    return read


def _check_file(model: SegmentationModel, network: Any, folder: Path, *, dynamic: bool) -> None:
    """Export, verify, and compare the file with smp's network at all sizes that it takes."""
    limits = model.input_limits()
    assert limits is not None
    if limits.is_fixed:
        shape = limits.minimum
    else:
        least = [max(edge, low) for edge, low in zip(SHAPE, limits.minimum, strict=True)]
        height, width = (edge + -edge % limits.multiple_of for edge in least)
        shape = height, width
    file = folder / "network.onnx"
    artifact = Segplug().export(
        "onnx", model, output=file, shape=shape, dynamic=dynamic, output_kind="logits", verify=True
    )
    assert artifact.meta.verification is not None
    assert artifact.meta.verification["passed"]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch, *size in _sizes(model) if dynamic else [(1, *shape)]:
        x = _images((batch, *size))
        with torch.inference_mode():
            expected = network(x)
        _same(expected, torch.from_numpy(session.run(None, {"input": x.numpy()})[0]), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_file_with_free_sizes(name: str, read: Any, tmp_path: Path) -> None:
    _check_file(*read(name), tmp_path, dynamic=True)


@pytest.mark.nightly
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", [*ARCHITECTURES, "dpt-fixed", *OWN, *TIMM])
def test_files(name: str, dynamic: bool, read: Any, tmp_path: Path) -> None:
    _check_file(*read(name), tmp_path, dynamic=dynamic)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, "segformer", "dpt"])
def test_the_exportable_form_computes_the_same(name: str, read: Any) -> None:
    model, network = read(name)
    exportable = model.exportable()
    for shape in _sizes(model):
        x = _images(shape)
        with torch.inference_mode():
            _same(network(x), exportable(x), 1e-5)


@pytest.mark.nightly
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("target", ["torchscript", "torch-export"])
@pytest.mark.parametrize("name", ["pspnet", "segformer", "unet-tu-convnext"])
def test_programs(name: str, target: str, dynamic: bool, read: Any, tmp_path: Path) -> None:
    model, _ = read(name)
    file = tmp_path / ("network.pt" if target == "torchscript" else "network.pt2")
    artifact = Segplug().export(target, model, output=file, shape=SHAPE, dynamic=dynamic, verify=True)
    assert artifact.meta.verification is not None
    assert artifact.meta.verification["passed"]
