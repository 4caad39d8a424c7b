"""Each family exported once with dynamic sizes, run in ONNX Runtime at others, against the original."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from torch import nn

pytestmark = pytest.mark.slow

Run = Callable[[torch.Tensor], Any]

SAMPLE = (2, 3, 264, 456)
"""At a 32nd of it Swin counts 2 x 3 windows: no count is 1, no two equal (see the package docstring)."""
OTHERS = [(1, 3, 296, 520), (2, 3, 136, 96), (1, 3, 117, 139)]
"""Larger; turned and small; and odd, no multiple of any stride."""

FAMILIES = {
    "cgnet": ("cgnet/cgnet_512x1024_60k_cityscapes.py", {"model.backbone.num_blocks": (2, 2)}),
    "fastscnn": ("fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py", {}),
    "fcn-mobilenetv2": (
        "mobilenet_v2/fcn_m-v2-d8_512x1024_80k_cityscapes.py",
        {"model.decode_head.channels": 16},
    ),
    "fcn-resnet": ("fcn/fcn_r18-d8_512x1024_80k_cityscapes.py", {"model.decode_head.channels": 16}),
    "pspnet": ("pspnet/pspnet_r18-d8_512x1024_80k_cityscapes.py", {"model.decode_head.channels": 16}),
    "deeplabv3": (
        "deeplabv3/deeplabv3_r18-d8_512x1024_80k_cityscapes.py",
        {"model.decode_head.channels": 16},
    ),
    "deeplabv3plus": (
        "deeplabv3plus/deeplabv3plus_r18-d8_512x1024_80k_cityscapes.py",
        {"model.decode_head.channels": 16},
    ),
    "erfnet": ("erfnet/erfnet_fcn_4x4_512x1024_160k_cityscapes.py", {}),
    "bisenetv1": ("bisenetv1/bisenetv1_r18-d32_4x4_1024x1024_160k_cityscapes.py", {}),
    "segformer": (
        "segformer/segformer_mit-b0_512x512_160k_ade20k.py",
        {"model.backbone.num_layers": (1, 1, 1, 1), "model.decode_head.channels": 16},
    ),
    "swin": (
        "swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K.py",
        {
            "model.backbone.embed_dims": 12,
            "model.backbone.depths": (2, 2, 1, 1),
            "model.decode_head.in_channels": [12, 24, 48, 96],
            "model.decode_head.channels": 16,
        },
    ),
}


class Logits(nn.Module):
    """The tensor contract of the design around a segmentor."""

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.segmentor = segmentor

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.segmentor.encode_decode(image, [{}])


@pytest.fixture(scope="module")
def network(mmseg, randomised):
    from mmcv import Config
    from mmcv.cnn.utils import revert_sync_batchnorm
    from mmseg.models import build_segmentor

    def build(family: str) -> nn.Module:
        file, options = FAMILIES[family]
        config = Config.fromfile(str(Path(mmseg.__file__).parent / ".mim" / "configs" / file))
        config.merge_from_dict({"model.decode_head.num_classes": 5, **copy.deepcopy(options)})
        config.model.update(pretrained=None, train_cfg=None, auxiliary_head=None)
        config.model.backbone.pop("init_cfg", None)
        return randomised(Logits(revert_sync_batchnorm(build_segmentor(config.model))))

    return build


@pytest.mark.parametrize("family", FAMILIES)
def test_one_dynamic_file_serves_every_size(family, network, distance, tmp_path):
    original = network(family)
    any_size = torch.export.Dim.DYNAMIC
    run = export(original, SAMPLE, tmp_path / "model.onnx", ({0: any_size, 2: any_size, 3: any_size},))
    for shape in OTHERS:
        check(original, run, shape, distance)


@pytest.mark.parametrize("family", ["fastscnn", "pspnet", "swin"])
def test_a_static_file_of_a_size_that_nothing_divides(family, network, distance, tmp_path):
    original, shape = network(family), (1, 3, 117, 139)
    check(original, export(original, shape, tmp_path / "model.onnx", None), shape, distance)


def export(original: nn.Module, shape: tuple[int, ...], file: Path, dynamic_shapes: Any) -> Run:
    import onnx
    import onnxruntime

    program = torch.onnx.export(
        make_exportable(original),
        (torch.zeros(shape),),
        dynamo=True,
        verbose=False,
        input_names=["input"],
        dynamic_shapes=dynamic_shapes,
    )
    program.save(file, external_data=False)
    assert {node.domain for node in onnx.load(file).graph.node} <= {"", "ai.onnx"}
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"input": image.numpy()})[0]


def check(original: nn.Module, run: Run, shape: tuple[int, ...], distance: Any) -> None:
    image = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    with torch.no_grad():
        expected = original(image)
    assert distance(expected, run(image)) < 1e-4, shape


@pytest.mark.parametrize("family", FAMILIES)
def test_the_exportable_form_is_the_network(family, network, distance):
    original = network(family)
    exportable = make_exportable(original)
    for shape in OTHERS:
        image = torch.randn(shape)
        with torch.no_grad():
            expected, actual = original(image), exportable(image)
        assert expected.std() > 1e-3  # weights that say something
        assert distance(expected, actual) < 1e-5, shape
