"""Mask2Former and MaskFormer against mmseg's and mmdet's own heads, on maps that no stride divides."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg_support.comparing import distance, randomised
from segplug_mmseg.exportable import make_exportable
from segplug_mmseg.exportable.query_heads import _hidden
from torch import nn

WIDTH, CLASSES = 16, 5
CHANNELS = [4, 6, 8, 10]
SIZES = [[(24, 32), (12, 16), (6, 8), (3, 4)], [(27, 33), (14, 17), (7, 9), (4, 5)]]

ATTENTION = {"embed_dims": WIDTH, "num_heads": 2, "batch_first": True}
FFN = {"embed_dims": WIDTH, "feedforward_channels": 24, "num_fcs": 2}
LAYER = {"self_attn_cfg": ATTENTION, "cross_attn_cfg": ATTENTION, "ffn_cfg": FFN}
SINE = {"num_feats": WIDTH // 2, "normalize": True}
COMMON = {
    "num_classes": CLASSES,
    "in_channels": CHANNELS,
    "feat_channels": WIDTH,
    "out_channels": WIDTH,
    "num_queries": 7,
    "enforce_decoder_input_project": False,
    "positional_encoding": SINE,
    "loss_cls": {"type": "mmdet.CrossEntropyLoss", "class_weight": [1.0] * (CLASSES + 1)},
    "loss_mask": {"type": "mmdet.CrossEntropyLoss", "use_sigmoid": True},
    "loss_dice": {"type": "mmdet.DiceLoss"},
}
DEFORMABLE = {
    "type": "mmdet.MSDeformAttnPixelDecoder",
    "num_outs": 3,
    "norm_cfg": {"type": "GN", "num_groups": 4},
    "act_cfg": {"type": "ReLU"},
    "encoder": {
        "num_layers": 2,
        "layer_cfg": {
            "self_attn_cfg": {"embed_dims": WIDTH, "num_heads": 2, "num_levels": 3, "batch_first": True},
            "ffn_cfg": FFN,
        },
    },
    "positional_encoding": SINE,
}
PLAIN = {"type": "mmdet.PixelDecoder", "norm_cfg": {"type": "GN", "num_groups": 4}}
ENCODING = {
    **PLAIN,
    "type": "mmdet.TransformerEncoderPixelDecoder",
    "encoder": {"num_layers": 2, "layer_cfg": {"self_attn_cfg": ATTENTION, "ffn_cfg": FFN}},
    "positional_encoding": SINE,
}


class Head(nn.Module):
    """A whole head, as a function of the maps; its scores have four times the size of the largest."""

    def __init__(self, kind: str, pixel_decoder: dict[str, object], **options: object) -> None:
        from mmseg.registry import MODELS

        super().__init__()
        settings = {**COMMON, "type": kind, "pixel_decoder": pixel_decoder, **options}
        self.head = MODELS.build(ConfigDict(settings))

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        height, width = maps[0].shape[2:]
        size = torch.Size((4 * height, 4 * width))
        metas = [{"img_shape": size, "pad_shape": size} for _ in range(maps[0].shape[0])]
        return self.head.predict(list(maps), metas, None)


def mask2former(**options: object) -> Head:
    decoder = {"num_layers": 4, "layer_cfg": LAYER, "return_intermediate": True}
    strides = [4, 8, 16, 32]
    return Head(
        "Mask2FormerHead", DEFORMABLE, transformer_decoder=decoder, strides=strides,
        num_transformer_feat_level=3, **options,
    )  # fmt: skip


def maskformer(pixel_decoder: dict[str, object]) -> Head:
    decoder = {"num_layers": 2, "layer_cfg": LAYER, "return_intermediate": True}
    return Head("MaskFormerHead", pixel_decoder, transformer_decoder=decoder)


def maps(sizes: list[tuple[int, int]], batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(batch, channels, *size, generator=generator)
        for channels, size in zip(CHANNELS, sizes, strict=True)
    ]


HEADS = {
    "mask2former": mask2former,
    "maskformer": lambda: maskformer(PLAIN),
    "encoding": lambda: maskformer(ENCODING),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", HEADS)
def test_scores(name, sizes):
    head = randomised(HEADS[name]())
    given = maps(sizes)
    expected = head(*given)
    assert expected.std() > 1e-3
    assert distance(expected, make_exportable(head)(*given)) < 1e-5


def test_a_mask_decides_what_a_query_sees():
    """Else the comparison of the whole heads would prove nothing about masks."""
    masks = torch.full((1, 2, 4, 6), -1.0)
    masks[0, 0, :2] = 1.0
    hidden = _hidden(masks, (4, 6)).reshape(2, 4, 6)
    assert not hidden[0, :2].any()
    assert hidden[0, 2:].all()
    assert not hidden[1].any(), "what is off everywhere hides nothing"
