"""Tiny models of transformers with random weights, saved by transformers itself, and what transformers says of an image.

The modules are those of the real models; only the numbers of layers and channels are small, so that an export takes
seconds. Scales, tables and biases are not zero, and the last layer is scaled so that at least three classes each cover
more than 5% of a sample image. ``reference`` computes labels and scores with the functions of transformers alone.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from torch import nn

CLASSES = ("road", "building", "vegetation", "sky", "car")
QUERIES = 8
BACKBONE_STAGES = ["stage1", "stage2", "stage3", "stage4"]
SIZES: tuple[tuple[int, int], ...] = ((75, 131), (97, 61))
SEEDS = (0, 1)
"""The sample images that a model is balanced for: each seed in each size (height, width)."""

TASK_LENGTH = 12  # tokens of OneFormer's task

Size = tuple[int, int]


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


def _dpt_dinov2(size: Size) -> Any:
    return transformers.DPTConfig(
        backbone_config=_dinov2(size, reshape_hidden_states=False),
        hidden_size=24,
        neck_hidden_sizes=[8, 8, 16, 16],
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
        text_encoder_width=16,
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


Entry = tuple[Callable[[Size], Any], str, str, Size, Literal["exact", "crop", "edges", "split", "other"]]

# The config, the class of the model, the class of its processor, the size, and how the processor states the size.
_ENTRIES: dict[str, Entry] = {
    "segformer": (_segformer, "SegformerForSemanticSegmentation", "SegformerImageProcessor", (64, 96), "exact"),
    "upernet-convnext": (
        _upernet_convnext, "UperNetForSemanticSegmentation", "SegformerImageProcessor", (64, 96), "exact"
    ),
    "upernet-swin": (_upernet_swin, "UperNetForSemanticSegmentation", "SegformerImageProcessor", (64, 96), "exact"),
    "upernet-dinov2": (
        _upernet_dinov2, "UperNetForSemanticSegmentation", "SegformerImageProcessor", (70, 98), "exact"
    ),
    "upernet-dinov3": (
        _upernet_dinov3, "UperNetForSemanticSegmentation", "SegformerImageProcessor", (64, 96), "exact"
    ),
    "beit": (_beit, "BeitForSemanticSegmentation", "BeitImageProcessor", (64, 64), "exact"),
    "data2vec-vision": (
        _data2vec_vision, "Data2VecVisionForSemanticSegmentation", "BeitImageProcessor", (64, 64), "exact"
    ),
    "dpt": (_dpt, "DPTForSemanticSegmentation", "DPTImageProcessor", (64, 64), "exact"),
    "dpt-dinov2": (_dpt_dinov2, "DPTForSemanticSegmentation", "DPTImageProcessor", (70, 70), "exact"),
    "mobilenet_v2": (
        _mobilenet_v2, "MobileNetV2ForSemanticSegmentation", "MobileNetV2ImageProcessor", (65, 65), "crop"
    ),
    "mobilevit": (_mobilevit, "MobileViTForSemanticSegmentation", "MobileViTImageProcessor", (64, 64), "crop"),
    "mobilevitv2": (_mobilevitv2, "MobileViTV2ForSemanticSegmentation", "MobileViTImageProcessor", (64, 64), "crop"),
    "sapiens2": (_sapiens2, "Sapiens2ForSemanticSegmentation", "Sapiens2ImageProcessor", (96, 64), "exact"),
    "tipsv2_dpt": (_tipsv2_dpt, "Tipsv2DptForSemanticSegmentation", "Tipsv2DptImageProcessor", (56, 56), "exact"),
    "maskformer": (_maskformer, "MaskFormerForInstanceSegmentation", "MaskFormerImageProcessor", (64, 96), "edges"),
    "mask2former": (
        _mask2former, "Mask2FormerForUniversalSegmentation", "Mask2FormerImageProcessor", (64, 96), "edges"
    ),
    "oneformer": (_oneformer, "OneFormerForUniversalSegmentation", "OneFormerImageProcessor", (64, 96), "edges"),
    "eomt": (_eomt, "EomtForUniversalSegmentation", "EomtImageProcessor", (64, 64), "split"),
    "eomt_dinov3": (_eomt_dinov3, "EomtDinov3ForUniversalSegmentation", "EomtImageProcessor", (64, 64), "split"),
    "detr": (_detr, "DetrForSegmentation", "DetrImageProcessor", (64, 96), "edges"),
    "videomt": (_videomt, "VideomtForUniversalSegmentation", "VideomtVideoProcessor", (64, 64), "exact"),
}  # fmt: skip

NAMES = tuple(_ENTRIES)
"""The names of the models; those with a hyphen name the backbone, too."""

TORCHVISION_ONLY = frozenset({"sapiens2", "tipsv2_dpt", "videomt"})
"""Models whose processors have no Pillow backend: their JSON is written by hand, so that torchvision is not needed."""


def sample_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an uint8 RGB image (height, width, 3) with areas, edges and noise.

    A seed gives the same image for the same size, and images that look alike for other sizes. The models are balanced
    for the seeds in ``SEEDS``.
    """
    random = np.random.default_rng(seed)
    areas = random.integers(0, 256, (7, 9, 3), np.uint8)
    rows = (np.arange(height) * 7) // height
    columns = (np.arange(width) * 9) // width
    image = areas[rows][:, columns].astype(np.float64)
    waves = 40 * np.sin(np.linspace(0, 20, height))[:, None, None]
    image += waves + random.normal(0, 8, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def save(name: str, folder: Path, *, size: Size | None = None) -> None:
    """Write a tiny model with random weights, and its processor, as ``save_pretrained`` does.

    Args:
        name: One of ``NAMES``.
        folder: The folder to make.
        size: (height, width) of the network's input instead of that of the table. Processors that state edges take
            them as the shortest and the longest edge.

    Raises:
        RuntimeError: No seed gives three classes that each cover more than 5% of the sample images.
    """
    make, model_class, processor_class, own, sizing = _ENTRIES[name]
    size = size or own
    config = make(size)
    config.id2label = dict(enumerate(CLASSES))
    config.label2id = {label: number for number, label in enumerate(CLASSES)}
    folder.mkdir(parents=True, exist_ok=True)
    _save_processor(name, processor_class, folder, size, sizing)
    inputs = []
    for shape, seed in itertools.product(SIZES, SEEDS):
        if name in TORCHVISION_ONLY:  # about what its processor gives
            pixels = torch.from_numpy(sample_image(*size, seed)).permute(2, 0, 1)[None].float() / 57 - 2
            inputs.append(
                {"pixel_values_videos": pixels[None]} if name == "videomt" else {"pixel_values": pixels}
            )
        else:
            inputs.append(_preprocess(folder, config, sample_image(*shape, seed), "pil")[1])
            inputs[-1].pop("patch_offsets", None)
    _filled(getattr(transformers, model_class), config, inputs).save_pretrained(folder)


def _filled(model_class: Callable[[Any], nn.Module], config: Any, inputs: Sequence[dict[str, Any]]) -> Any:
    for seed in range(200):
        torch.manual_seed(seed)
        model = model_class(config).eval()
        with torch.no_grad():
            _fill(model)
            _calibrate(model, inputs)
            labels = [_scores(model(**one)).argmax(1) for one in inputs]
        shares = [[(one == number).float().mean() for number in range(len(CLASSES))] for one in labels]
        if all(sum(share > 0.1 for share in one) >= 3 for one in shares):
            return model
    raise RuntimeError(f"No seed gives three classes that are seen: {model_class.__name__}")


def _fill(model: nn.Module) -> None:
    for owner in model.modules():
        for name, value in owner.named_parameters(recurse=False):
            if value.dim() >= 2 and isinstance(owner, nn.Linear | nn.modules.conv._ConvNd):
                fan_in = value[0].numel() if not isinstance(owner, nn.ConvTranspose2d) else value.shape[0]
                value.normal_(0, 1.2 / math.sqrt(fan_in))
            elif isinstance(owner, nn.Embedding):
                value.normal_(0, 5)  # queries that differ
            elif name.startswith(("lambda", "gamma", "layer_scale")):
                value.normal_(0.5, 0.1)
            elif value.dim() == 1 and name == "weight":
                value.normal_(1, 0.2)
            elif value.dim() == 1:
                value.add_(torch.randn_like(value), alpha=0.1)
            else:  # tokens, tables of positions, scales with more than one axis
                value.normal_(0, 0.5)
        for name, value in owner.named_buffers(recurse=False):
            if name == "running_mean":
                value.normal_(0, 0.2)
            elif name == "running_var":
                value.uniform_(0.7, 1.3)
            elif name == "attn_mask_probs":  # of EoMT: one block with a mask, the next without
                value.copy_(torch.arange(len(value)) % 2 == 0)


def _queries(outputs: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the logits of classes and masks of a query model, or None."""
    if "class_queries_logits" in outputs:
        return outputs.class_queries_logits, outputs.masks_queries_logits
    return (outputs.logits, outputs.pred_masks) if "pred_masks" in outputs else None


def _product(classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bqc,bqhw->bchw", classes.softmax(-1)[..., :-1], masks.sigmoid())


def _scores(outputs: Any) -> torch.Tensor:
    queries = _queries(outputs)
    scores: torch.Tensor = outputs.logits if queries is None else _product(*queries)
    return scores


# The parts of a query model whose last layers give classes, masks, and the features that masks are cut out of.
_HEADS: Mapping[str, tuple[str, str, str]] = {
    "maskformer": ("class_predictor", "mask_embedder", "mask_projection"),
    "mask2former": ("class_predictor", "mask_embedder", "mask_projection"),
    "oneformer": ("decoder.class_embed", "decoder.mask_embed", "mask_projection"),
    "eomt": ("class_predictor", "mask_head", "layernorm2d"),
    "eomt_dinov3": ("class_predictor", "mask_head", "layernorm2d"),
    "videomt": ("class_predictor", "mask_head", "layernorm2d"),
    "detr": ("class_labels_classifier", "mask_head.output_conv", "mask_head.output_conv"),
}


def _last(model: nn.Module, part: str, width: int | None = None) -> Any:
    """Return the last layer of a part, of so many outputs if that is given."""
    found = None
    for name, module in model.named_modules():
        outputs = getattr(module, "out_features", getattr(module, "out_channels", None))
        if getattr(module, "weight", None) is not None and part in name and width in (None, outputs):
            found = found if "auxiliary" in name else module
    if found is None:
        raise RuntimeError(f"{type(model).__name__} has no last layer of {part or width}")
    return found


def _calibrate(model: Any, inputs: Sequence[dict[str, Any]]) -> None:
    """Scale the last layers so that the classes are about as frequent as each other."""
    outputs = [model(**one) for one in inputs]
    if _queries(outputs[0]) is None:
        logits = torch.cat([one.logits.transpose(0, 1).flatten(1) for one in outputs], 1)
        _scale(_last(model, "", len(logits)), logits, 1)
        return
    classes, masks, features = (_last(model, part) for part in _HEADS[model.config.model_type])
    if model.config.model_type == "detr":  # masks that differ, by more weight of where each query looks
        model.bbox_attention.q_proj.weight.mul_(8)
        model.mask_head.conv1.conv.weight[:, model.config.d_model :].mul_(300)
    else:
        features.bias -= torch.cat(
            [one.transpose(0, 1).flatten(1) for one in _made(model, features, inputs)], 1
        ).mean(1)
        masks.bias -= torch.cat([one.flatten(0, 1) for one in _made(model, masks, inputs)]).mean(0)
    found = [_queries(model(**one))[1] for one in inputs]
    factor = 4 / torch.stack([one.flatten(2).std(2).mean() for one in found]).mean()
    masks.weight.mul_(factor)
    masks.bias.mul_(factor)
    found = [_queries(model(**one)) for one in inputs]
    _scale(classes, torch.cat([one.flatten(0, 1).T for one, _ in found], 1), 3)
    classes.bias[-1] -= 2  # few queries are nothing
    found = [_queries(model(**one)) for one in inputs]
    shift = torch.zeros(len(CLASSES) + 1)
    for _ in range(60):
        labels = torch.cat([_product(logits + shift, one).argmax(1).flatten() for logits, one in found])
        share = torch.stack([(labels == number).float().mean() for number in range(len(CLASSES))])
        shift[:-1] -= 0.3 * (share - 1 / len(CLASSES))
    classes.bias += shift


def _made(model: Any, layer: nn.Module, inputs: Sequence[dict[str, Any]]) -> list[torch.Tensor]:
    """Return what a layer gives for each input; of one that runs several times, the last."""
    results = []
    for one in inputs:
        made: list[torch.Tensor] = []
        handle = layer.register_forward_hook(lambda module, given, result, made=made: made.append(result))
        model(**one)
        handle.remove()
        results.append(made[-1])
    return results


def _scale(layer: Any, logits: torch.Tensor, deviation: float) -> None:
    """Give each row of logits (outputs, samples) mean 0 and the deviation."""
    scale = deviation / logits.std(1)
    layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
    bias = 0 if layer.bias is None else layer.bias
    layer.bias = nn.Parameter((bias - logits.mean(1)) * scale)


def _save_processor(name: str, kind: str, folder: Path, size: Size, sizing: str) -> None:
    settings: dict[str, Any] = {"do_reduce_labels": True} if name in ("upernet-convnext", "beit") else {}
    if sizing == "exact":
        settings["size"] = {"height": size[0], "width": size[1]}
    elif sizing == "crop":
        settings["size"] = {"shortest_edge": size[0] + 8}
        settings["crop_size"] = {"height": size[0], "width": size[1]}
    elif sizing == "edges":
        settings["size"] = {"shortest_edge": size[0], "longest_edge": size[1]}
    else:
        settings["size"] = {"shortest_edge": size[0], "longest_edge": None}
        settings["do_split_image"] = True
    if name in TORCHVISION_ONLY:
        _write_processor(kind, folder, settings)
        return
    processor = getattr(transformers, f"{kind}Pil")(**settings)
    if name == "oneformer":
        _tokenizer(folder).save_pretrained(folder)
    processor.save_pretrained(folder)


def _write_processor(kind: str, folder: Path, settings: dict[str, Any]) -> None:
    """Write the JSON that the processor's ``save_pretrained`` writes where torchvision is installed."""
    video = kind.endswith("VideoProcessor")
    content = {
        "do_convert_rgb": True,
        "do_normalize": kind != "Tipsv2DptImageProcessor",
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        ("video_processor_type" if video else "image_processor_type"): kind,
        "resample": 2,
        "rescale_factor": 1 / 255,
        **settings,
    }
    if kind == "Tipsv2DptImageProcessor":
        del content["image_mean"], content["image_std"]
    file = folder / ("video_preprocessor_config.json" if video else "preprocessor_config.json")
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _tokenizer(folder: Path) -> Any:
    """Return a tokenizer as OneFormer's: CLIP's, with an own small vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    merges = [
        ("t", "h"),
        ("th", "e</w>"),
        ("i", "s</w>"),
        ("t", "a"),
        ("ta", "s"),
        ("tas", "k</w>"),
        ("s", "e"),
    ]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TASK_LENGTH)


def reference(
    folder: Path, image: np.ndarray, backend: Literal["pil", "torchvision"] = "pil"
) -> tuple[np.ndarray, np.ndarray]:
    """Return what transformers says of an image: its processor, its model, its post-processing.

    Args:
        folder: A folder that ``save`` wrote.
        image: An uint8 RGB image (H, W, 3).
        backend: Which processor, ``"torchvision"`` for those that have no other, too; then torchvision is needed.

    Returns:
        Labels (H, W) int64, and scores (C, H, W) float32 of the size of the image.
    """
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    processor, inputs = _preprocess(folder, model.config, image, backend)
    offsets = inputs.pop("patch_offsets", None)
    with torch.no_grad():
        outputs = model(**inputs)
        if offsets is not None:
            outputs.patch_offsets = offsets
        result = processor.post_process_semantic_segmentation(
            outputs, target_sizes=[image.shape[:2]], return_segmentation_scores=True
        )[0]
    return result.segmentation.numpy(), result.segmentation_scores.numpy()


def _preprocess(folder: Path, config: Any, image: np.ndarray, backend: str) -> tuple[Any, dict[str, Any]]:
    """Return the processor, and the inputs of the model that it makes of an image."""
    if config.model_type == "videomt":
        processor = transformers.VideomtVideoProcessor.from_pretrained(folder)
        return processor, dict(processor(videos=[[image]], return_tensors="pt"))
    content = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    name = content["image_processor_type"] + ("Pil" if backend == "pil" else "")
    processor = getattr(transformers, name).from_pretrained(folder)
    if config.model_type != "oneformer":
        return processor, dict(processor([image], return_tensors="pt"))
    inputs = dict(processor([image], ["semantic"], return_tensors="pt"))
    text = transformers.OneFormerProcessor.__new__(
        transformers.OneFormerProcessor
    )  # its own class wants torchvision
    text.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs["task_inputs"] = text._preprocess_text(["the task is semantic"], max_length=config.task_seq_len)
    return processor, inputs
