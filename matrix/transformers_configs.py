"""The configs of tiny models of transformers: the modules of the real ones, with few layers and channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import transformers

Size = tuple[int, int]
QUERIES = 8
TASK_LENGTH = 12  # tokens of OneFormer's task
BACKBONE_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _segformer(size: Size) -> Any:
    return transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16,
    )


def _swin(size: Size) -> Any:
    return transformers.SwinConfig(
        image_size=size,
        embed_dim=8,
        depths=[2, 2, 2, 2],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=BACKBONE_STAGES,
    )


def _dinov2(size: Size, **settings: Any) -> Any:
    return transformers.Dinov2Config(
        image_size=56,
        patch_size=14,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        layerscale_value=0.5,
        out_features=BACKBONE_STAGES,
        **settings,
    )


def _upernet(backbone: Any, width: int) -> Any:
    return transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=16, auxiliary_channels=8, auxiliary_in_channels=width
    )


def _upernet_convnext(size: Size) -> Any:
    backbone = transformers.ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=BACKBONE_STAGES
    )
    return _upernet(backbone, 24)


def _upernet_swin(size: Size) -> Any:
    return _upernet(_swin(size), 32)


def _upernet_dinov2(size: Size) -> Any:
    return _upernet(_dinov2(size), 24)


def _upernet_dinov3(size: Size) -> Any:
    backbone = transformers.DINOv3ViTConfig(
        image_size=size[0],
        patch_size=16,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_register_tokens=2,
        layerscale_value=0.5,
        out_features=BACKBONE_STAGES,
    )
    return _upernet(backbone, 24)


def _beit(size: Size, kind: Callable[..., Any] = transformers.BeitConfig) -> Any:
    return kind(
        image_size=size[0],
        patch_size=16,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        use_relative_position_bias=True,
        layer_scale_init_value=0.5,
        out_indices=[1, 2, 3, 4] if kind is transformers.BeitConfig else [0, 1, 2, 3],
        auxiliary_channels=8,
    )


def _data2vec_vision(size: Size) -> Any:
    return _beit(size, transformers.Data2VecVisionConfig)


def _dpt(size: Size) -> Any:
    return transformers.DPTConfig(
        image_size=size[0],
        patch_size=16,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
    )


def _dpt_hybrid(size: Size) -> Any:
    backbone = transformers.BitConfig(
        global_padding="same",
        layer_type="bottleneck",
        embedding_size=8,
        hidden_sizes=[16, 16, 32],
        depths=[1, 1, 1],
        num_groups=4,
        embedding_dynamic_padding=True,
        out_features=BACKBONE_STAGES[:3],
    )
    return transformers.DPTConfig(
        is_hybrid=True,
        backbone_config=backbone,
        backbone_featmap_shape=[1, 32, size[0] // 16, size[1] // 16],
        image_size=size[0],
        patch_size=16,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=48,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
    )


def _mobilenet_v2(size: Size) -> Any:
    return transformers.MobileNetV2Config(image_size=size, depth_multiplier=0.25, output_stride=8)


def _mobilevit(size: Size) -> Any:
    return transformers.MobileViTConfig(
        image_size=size,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32],
        num_attention_heads=2,
        output_stride=16,
        aspp_out_channels=16,
        atrous_rates=[1, 2, 3],
    )


def _mobilevitv2(size: Size) -> Any:
    return transformers.MobileViTV2Config(
        image_size=size,
        n_attn_blocks=[1, 1, 1],
        base_attn_unit_dims=[16, 24, 32],
        width_multiplier=0.25,
        output_stride=16,
        aspp_out_channels=16,
        atrous_rates=[1, 2, 3],
    )


def _sapiens2(size: Size) -> Any:
    return transformers.Sapiens2Config(
        image_size=size,
        patch_size=16,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        num_first_full_attention_layers=1,
        num_last_full_attention_layers=1,
        num_register_tokens=2,
        layerscale_value=0.5,
        head_config={"upsample_out_channels": [16, 16], "conv_out_channels": [16]},
    )


def _tipsv2_dpt(size: Size) -> Any:
    return transformers.Tipsv2DptConfig(
        backbone_config={
            "model_type": "tipsv2_vision_model",
            "image_size": 56,
            "patch_size": 14,
            "hidden_size": 24,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "mlp_ratio": 2,
            "layerscale_value": 0.5,
            "out_indices": [1, 2, 3, 4],
            "apply_layernorm": True,
            "reshape_hidden_states": False,
        },
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
    )


def _maskformer(size: Size) -> Any:
    decoder = transformers.DetrConfig(
        d_model=16,
        num_queries=QUERIES,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        backbone_config=transformers.ResNetConfig(out_features=["stage4"]),
    )
    return transformers.MaskFormerConfig(
        backbone_config=_swin(size), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=16
    )


def _mask2former(size: Size) -> Any:
    return transformers.Mask2FormerConfig(
        backbone_config=_swin(size),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=4,
        num_attention_heads=2,
        num_queries=QUERIES,
    )


def _oneformer(size: Size) -> Any:
    return transformers.OneFormerConfig(
        backbone_config=_swin(size),
        conv_dim=32,
        mask_dim=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=4,
        query_dec_layers=1,
        num_attention_heads=2,
        num_queries=QUERIES,
        task_seq_len=TASK_LENGTH,
        text_encoder_width=64,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=600,
        text_encoder_context_length=TASK_LENGTH,
        text_encoder_n_ctx=2,
    )


def _eomt(size: Size, kind: Callable[..., Any] = transformers.EomtConfig, **settings: Any) -> Any:
    return kind(
        image_size=size[0],
        patch_size=16,
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_blocks=2,
        num_upscale_blocks=2,
        num_queries=QUERIES,
        num_register_tokens=2,
        layerscale_value=0.5,
        **settings,
    )


def _eomt_dinov3(size: Size) -> Any:
    return _eomt(size, transformers.EomtDinov3Config, intermediate_size=48)


def _videomt(size: Size) -> Any:
    return _eomt(size, transformers.VideomtConfig, mlp_ratio=2)


def _detr(size: Size) -> Any:
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 16, 24, 32], depths=[1, 1, 1, 1], out_features=BACKBONE_STAGES
    )
    return transformers.DetrConfig(
        backbone_config=backbone,
        d_model=64,
        num_queries=QUERIES,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
    )


@dataclass(frozen=True)
class Entry:
    """How to make a model.

    Attributes:
        config: Makes the config for (height, width) of the input.
        model: The class of the model.
        processor: The class of its processor, without "Pil".
        size: (height, width) of the input.
        sizing: How the processor states it: ``exact`` height and width, a ``crop`` of them, shortest and
            longest ``edges``, or windows of it that an image is ``split`` into.
    """

    config: Callable[[Size], Any]
    model: str
    processor: str
    size: Size
    sizing: Literal["exact", "crop", "edges", "split"] = "exact"


_SEMANTIC = "ForSemanticSegmentation"
_UNIVERSAL = "ForUniversalSegmentation"

ENTRIES: dict[str, Entry] = {
    "segformer": Entry(_segformer, "Segformer" + _SEMANTIC, "SegformerImageProcessor", (64, 96)),
    "upernet-convnext": Entry(_upernet_convnext, "UperNet" + _SEMANTIC, "SegformerImageProcessor", (64, 96)),
    "upernet-swin": Entry(_upernet_swin, "UperNet" + _SEMANTIC, "SegformerImageProcessor", (64, 96)),
    "upernet-dinov2": Entry(_upernet_dinov2, "UperNet" + _SEMANTIC, "SegformerImageProcessor", (70, 98)),
    "upernet-dinov3": Entry(_upernet_dinov3, "UperNet" + _SEMANTIC, "SegformerImageProcessor", (64, 96)),
    "beit": Entry(_beit, "Beit" + _SEMANTIC, "BeitImageProcessor", (64, 64)),
    "data2vec-vision": Entry(_data2vec_vision, "Data2VecVision" + _SEMANTIC, "BeitImageProcessor", (64, 64)),
    "dpt": Entry(_dpt, "DPT" + _SEMANTIC, "DPTImageProcessor", (64, 64)),
    "dpt-hybrid": Entry(_dpt_hybrid, "DPT" + _SEMANTIC, "DPTImageProcessor", (64, 64)),
    "mobilenet_v2": Entry(
        _mobilenet_v2, "MobileNetV2" + _SEMANTIC, "MobileNetV2ImageProcessor", (65, 65), "crop"
    ),
    "mobilevit": Entry(_mobilevit, "MobileViT" + _SEMANTIC, "MobileViTImageProcessor", (64, 64), "crop"),
    "mobilevitv2": Entry(
        _mobilevitv2, "MobileViTV2" + _SEMANTIC, "MobileViTImageProcessor", (64, 64), "crop"
    ),
    "sapiens2": Entry(_sapiens2, "Sapiens2" + _SEMANTIC, "Sapiens2ImageProcessor", (96, 64)),
    "tipsv2_dpt": Entry(_tipsv2_dpt, "Tipsv2Dpt" + _SEMANTIC, "Tipsv2DptImageProcessor", (56, 56)),
    "maskformer": Entry(
        _maskformer, "MaskFormerForInstanceSegmentation", "MaskFormerImageProcessor", (64, 96), "edges"
    ),
    "mask2former": Entry(
        _mask2former, "Mask2Former" + _UNIVERSAL, "Mask2FormerImageProcessor", (64, 96), "edges"
    ),
    "oneformer": Entry(_oneformer, "OneFormer" + _UNIVERSAL, "OneFormerImageProcessor", (64, 96), "edges"),
    "eomt": Entry(_eomt, "Eomt" + _UNIVERSAL, "EomtImageProcessor", (64, 64), "split"),
    "eomt_dinov3": Entry(_eomt_dinov3, "EomtDinov3" + _UNIVERSAL, "EomtImageProcessor", (64, 64), "split"),
    "detr": Entry(_detr, "DetrForSegmentation", "DetrImageProcessor", (128, 192), "edges"),
    "videomt": Entry(_videomt, "Videomt" + _UNIVERSAL, "VideomtVideoProcessor", (64, 64)),
}
