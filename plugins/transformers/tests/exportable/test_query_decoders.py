"""Mask2Former, OneFormer and MaskFormer in their exportable form: pixel decoder, positions and queries."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
import transformers
from segplug_transformers.exportable import make_exportable
from torch import nn
from transformers.models.maskformer.modeling_maskformer import MaskFormerSinePositionEmbedding
from transformers_support.comparing import distance, randomised

SIZES = [(71, 101), (33, 70)]


def swin():
    return transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def maskformer(**settings):
    decoder = transformers.DetrConfig(
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=24,
        num_queries=7,
        use_timm_backbone=False,
        backbone_config=None,
    )
    config = transformers.MaskFormerConfig(
        fpn_feature_size=32, mask_feature_size=16, backbone_config=swin(), decoder_config=decoder, **settings
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


def mask2former(**settings):
    config = transformers.Mask2FormerConfig(
        backbone_config=swin(),
        feature_size=32,
        mask_feature_size=16,
        hidden_dim=32,
        encoder_feedforward_dim=24,
        encoder_layers=2,
        decoder_layers=5,
        num_attention_heads=4,
        dim_feedforward=24,
        num_queries=7,
        **settings,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


def oneformer(**settings):
    config = transformers.OneFormerConfig(
        backbone_config=swin(),
        conv_dim=32,
        mask_dim=32,
        hidden_dim=32,
        encoder_feedforward_dim=24,
        encoder_layers=2,
        decoder_layers=5,
        query_dec_layers=2,
        num_attention_heads=4,
        dim_feedforward=24,
        num_queries=8,
        task_seq_len=6,
        **settings,
    )
    return transformers.OneFormerForUniversalSegmentation(config)


class Queries(nn.Module):
    """What a model gives for an image, and of OneFormer for one task."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor, **asked: bool) -> object:
        if isinstance(self.model, transformers.OneFormerForUniversalSegmentation):
            task = torch.arange(6).expand(x.shape[0], -1)
            return self.model(pixel_values=x, task_inputs=task, **asked)
        return self.model(pixel_values=x, **asked)


NETWORKS = {
    "maskformer": (maskformer, {}),
    "mask2former": (mask2former, {}),
    "mask2former, norms first": (mask2former, {"pre_norm": True}),
    "mask2former, with projections": (mask2former, {"enforce_input_projection": True}),
    "oneformer": (oneformer, {}),
    "oneformer, norms first": (oneformer, {"pre_norm": True}),
    "oneformer, without the task's norm": (oneformer, {"use_task_norm": False}),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request):
    build, settings = NETWORKS[request.param]
    return randomised(Queries(build(num_labels=5, **settings)))


@pytest.mark.parametrize("size", SIZES)
def test_scores_of_the_queries(size, network):
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected, actual = network(x), make_exportable(network)(x)
    assert set(actual) == set(expected)
    for name in ("class_queries_logits", "masks_queries_logits"):
        assert distance(expected[name], actual[name]) < 2e-5, name


@pytest.mark.parametrize("network", list(NETWORKS)[1:], indirect=True)  # MaskFormer gives the last layer's
def test_scores_of_every_layer(network):
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        asked = {"output_hidden_states": True, "output_auxiliary_logits": True}
        expected, actual = network(x, **asked), make_exportable(network)(x, **asked)
    name = "auxiliary_predictions" if "auxiliary_predictions" in expected else "auxiliary_logits"
    assert len(actual[name]) == len(expected[name]) > 0
    for one, other in zip(expected[name], actual[name], strict=True):
        for part in ("class_queries_logits", "masks_queries_logits"):
            assert distance(one[part], other[part]) < 2e-5
    states = "transformer_decoder_hidden_states"
    if isinstance(network.model, transformers.Mask2FormerForUniversalSegmentation):
        assert len(actual[states]) == len(expected[states])
        assert all(distance(a, b) < 2e-5 for a, b in zip(expected[states], actual[states], strict=True))


def test_queries_that_would_see_nothing_see_everything():
    network = randomised(Queries(mask2former(num_labels=5)))
    last = network.model.model.transformer_module.decoder.mask_predictor.mask_embedder.layers[-1].layers[0]
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        last.weight.zero_()  # every query has the same mask, which is on everywhere
        network.model.model.pixel_level_module.decoder.mask_projection.bias.fill_(50)
        last.bias.abs_()
        seen = network(x)
        last.bias.neg_()  # and now off everywhere
        expected, actual = network(x), make_exportable(network)(x)
    assert seen.masks_queries_logits.min() > 0 > expected.masks_queries_logits.max()
    assert distance(seen.class_queries_logits, expected.class_queries_logits) < 1e-5
    assert distance(expected.class_queries_logits, actual.class_queries_logits) < 2e-5


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"normalize": True, "scale": 3.0}])
def test_sine_positions(options):
    embedding = MaskFormerSinePositionEmbedding(6, temperature=500, **options)
    given = torch.Size((2, 12, 5, 7)), torch.device("cpu"), torch.float32
    assert distance(embedding(*given), make_exportable(embedding)(*given)) < 1e-6
    mask = torch.ones(2, 5, 7)
    mask[0, 3:] = 0
    assert distance(embedding(*given, mask), make_exportable(embedding)(*given, mask)) == 0


class Scores(nn.Module):
    """The last layer's classes and masks alone."""

    def __init__(self, queries: nn.Module) -> None:
        super().__init__()
        self.queries = queries

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.queries(x)
        return found.class_queries_logits, found.masks_queries_logits


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("build", [maskformer, mask2former, oneformer])
def test_one_file_for_every_size(build, tmp_path):
    network = randomised(Scores(Queries(build(num_labels=5))))
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        make_exportable(network),
        (torch.zeros(2, 3, 480, 672),),
        dynamo=True,
        verbose=False,
        input_names=["input"],
        dynamic_shapes=({0: free, 2: free, 3: free},),
    )
    program.save(tmp_path / "scores.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "scores.onnx", providers=["CPUExecutionProvider"])
    for shape in [(1, 3, 71, 101), (2, 3, 128, 96)]:
        x = torch.randn(shape)
        for expected, actual in zip(network(x), session.run(None, {"input": x.numpy()}), strict=True):
            assert distance(expected, torch.from_numpy(actual)) < 2e-5
