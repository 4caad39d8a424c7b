"""Swin's windows at sizes that windows and patches do not divide."""

from __future__ import annotations

import pytest
import torch
import transformers
from segplug_transformers.exportable import make_exportable
from transformers.models.maskformer.modeling_maskformer_swin import MaskFormerSwinBackbone
from transformers.models.swin.modeling_swin import SwinBackbone
from transformers_support.comparing import distance, randomised

BACKBONES = {
    "swin": (SwinBackbone, transformers.SwinConfig),
    "maskformer-swin": (MaskFormerSwinBackbone, transformers.MaskFormerSwinConfig),
}


def backbone(name, **settings):
    kind, config = BACKBONES[name]
    options = {
        "image_size": 64,
        "embed_dim": 8,
        "depths": [2, 2, 1],
        "num_heads": [1, 2, 4],
        "window_size": 4,
        "out_features": ["stage1", "stage3"],
    }
    return randomised(kind(config(**options | settings)))


@pytest.fixture(scope="module", params=list(BACKBONES))
def swin(request):
    return backbone(request.param)


@pytest.mark.parametrize("size", [(64, 64), (71, 102), (17, 33), (9, 130)])
def test_backbone(size, swin):
    x = torch.randn(2, 3, *size)
    expected, actual = swin(x), make_exportable(swin)(x)
    assert list(actual) == list(expected)
    assert len(actual.feature_maps) == 2
    for a, b in zip(expected.feature_maps, actual.feature_maps, strict=True):
        assert distance(a, b) < 1e-5
        assert b.is_contiguous()  # see the form


def test_one_program_follows_batch_and_size(swin):
    free = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(swin), (torch.zeros(2, 3, 120, 200),), dynamic_shapes=({0: free, 2: free, 3: free},)
    ).module(check_guards=False)  # its guards ask which strides the sample's tensors have
    for shape in [(1, 3, 71, 101), (3, 3, 33, 130)]:
        x = torch.randn(shape)
        for a, b in zip(swin(x).feature_maps, program(x).feature_maps, strict=True):
            assert distance(a, b) < 1e-5


@pytest.mark.parametrize("size", [(64, 64), (32, 128)])
def test_learned_positions(size):
    """The positions are added in their order, whatever the grid's own shape."""
    swin = backbone("swin", use_absolute_embeddings=True)
    x = torch.randn(2, 3, *size)
    for a, b in zip(swin(x).feature_maps, make_exportable(swin)(x).feature_maps, strict=True):
        assert distance(a, b) < 1e-5


def test_more_than_the_maps(swin):
    x = torch.randn(1, 3, 40, 56)
    actual = make_exportable(swin)(x, output_hidden_states=True)
    assert len(actual.hidden_states) == len(swin(x, output_hidden_states=True).hidden_states)
    for a, b in zip(swin(x).feature_maps, actual.feature_maps, strict=True):
        assert distance(a, b) < 1e-5


def test_the_image_without_windows_as_a_map():
    swin = backbone("swin", out_features=["stem", "stage1", "stage2", "stage3"])
    x = torch.randn(1, 3, 40, 56)
    for a, b in zip(swin(x).feature_maps, make_exportable(swin)(x).feature_maps, strict=True):
        assert distance(a, b) < 1e-5
