"""Vision transformers at sizes that their position table was not made for."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
import torch
from segplug_mmseg.exportable import make_exportable

TRAINED = (64, 48)
"""A table of 4 x 3 patches."""

SIZES = [
    TRAINED,
    (64, 80),
    (40, 200),  # padded to 3 x 13 patches
    (32, 96),  # 2 x 6 patches: as many as the table has, in another shape
    (16, 16),
    (17, 100),
]


@pytest.fixture(scope="module")
def vit(mmseg, randomised):
    from mmseg.models.backbones import VisionTransformer

    def vit(**options):
        options = {"interpolate_mode": "bicubic", **options}
        network = VisionTransformer(TRAINED, 16, embed_dims=8, num_layers=1, num_heads=2, **options)
        return randomised(network)

    return vit


OPTIONS = [
    {},
    {"interpolate_mode": "bilinear", "with_cls_token": False},
    {"output_cls_token": True, "final_norm": True},
]


def flat(outputs):
    """Maps and class tokens of all levels, one after the other."""
    return [x for level in outputs for x in (level if isinstance(level, list) else [level])]


@pytest.mark.parametrize("options", OPTIONS)
def test_one_exported_program_gives_mmsegs_numbers_at_every_size(options, vit, distance):
    network, any_size = vit(**options), torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(network),
        (torch.zeros(2, 3, 96, 128),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module(check_guards=False)
    for size in SIZES:
        if size == (16, 16):
            continue  # torch holds its program to more than one row of patches; a file is not, see below
        x = torch.randn(2, 3, *size)
        for expected, actual in zip(flat(network(x)), flat(program(x)), strict=True):
            assert distance(expected, actual) < 1e-5, size


def test_one_file_follows_the_size(vit, distance, tmp_path):
    network, file = vit(), tmp_path / "vit.onnx"
    any_size = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        make_exportable(network),
        (torch.zeros(2, 3, 96, 128),),
        dynamo=True,
        verbose=False,
        input_names=["input"],
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).save(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for size in SIZES:
        x = torch.randn(1, 3, *size)
        assert distance(network(x)[-1], session.run(None, {"input": x.numpy()})[-1]) < 1e-5, size


def test_the_table_matters(vit, distance):
    """What the tests above compare would show a table that is not resized, or not as mmseg does."""
    network, x = vit(), torch.randn(1, 3, 64, 80)
    before = network(x)[-1].detach()
    network.interpolate_mode = "bilinear"
    assert distance(before, network(x)[-1]) > 1e-2


def test_a_fixed_training_size_takes_the_table_as_it_is(vit, tmp_path):
    torch.onnx.export(
        make_exportable(vit()), (torch.zeros(1, 3, *TRAINED),), dynamo=True, verbose=False
    ).save(tmp_path / "vit.onnx")
    assert "Resize" not in {node.op_type for node in onnx.load(tmp_path / "vit.onnx").graph.node}
