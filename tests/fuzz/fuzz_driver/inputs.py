"""Small valid inputs of every kind, made once through the public API and the command line.

The network is an FCN of some thousand weights with 4 classes; images have 32x48 pixels. All paths
are relative to the folder of the inputs; a case gets copies of those that it names, under ``in/``.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CLASSES", "SEGFORMER", "WEIGHTS", "make_inputs"]

CLASSES = ("road", "building", "sky", "car")

SEGFORMER = "segformer"
"""A folder that transformers has written, where segplug-transformers is installed."""

_CONFIG = """
classes = ('road', 'building', 'sky', 'car')
palette = [[128, 64, 128], [70, 70, 70], [70, 130, 180], [0, 0, 142]]
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=4, stem_channels=4, num_stages=2,
                  strides=(1, 2), dilations=(1, 1), out_indices=(0, 1), norm_cfg=norm_cfg),
    decode_head=dict(type='FCNHead', in_channels=8, in_index=1, channels=4, num_convs=1,
                     num_classes=4, norm_cfg=norm_cfg, align_corners=False),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(48, 32), flip=False, transforms=[
        dict(type='Resize', keep_ratio=False),
        dict(type='RandomFlip'),
        dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(test=dict(
    type='CustomDataset', data_root='in/data', img_dir='images', ann_dir='masks',
    img_suffix='.png', classes=classes, palette=palette, pipeline=test_pipeline))
"""

_NETS = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))
"""

_VIT = {"img_size": (64, 64), "embed_dims": 16, "num_layers": 2, "num_heads": 2, "out_indices": (0, 1)}
_BN = {"norm_cfg": {"type": "BN"}, "act_cfg": {"type": "ReLU"}}

WEIGHTS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "beit": ({"type": "BEiT", **_VIT}, "timm"),
    "mit": ({"type": "MixVisionTransformer", "embed_dims": 8, "num_layers": [1] * 4}, "official"),
    "mobilenet-v2": ({"type": "MobileNetV2", "widen_factor": 0.25}, "torchvision"),
    "mobilenet-v3": ({"type": "MobileNetV3", "arch": "small"}, "torchvision-small"),
    "resnet": ({"type": "ResNet", "depth": 18, "base_channels": 8, "stem_channels": 8}, "torchvision"),
    "stdc": (
        {
            "type": "STDCNet",
            "stdc_type": "STDCNet1",
            "in_channels": 3,
            "channels": (8, 16, 64, 128, 256),
            "bottleneck_type": "cat",
            **_BN,
        },
        "stdc1",
    ),
    "swin": (
        {
            "type": "SwinTransformer",
            "embed_dims": 8,
            "depths": (1, 1, 1, 1),
            "num_heads": (1, 2, 4, 8),
            "window_size": 4,
        },
        "official",
    ),
    "twins": (
        {
            "type": "PCPVT",
            "embed_dims": [64] * 4,
            "depths": [1] * 4,
            "num_heads": [1] * 4,
            "sr_ratios": [2, 2, 2, 1],
            "qkv_bias": True,
            "norm_after_stage": False,
        },
        "pcpvt",
    ),
    "vit": ({"type": "VisionTransformer", **_VIT}, "timm"),
}
"""Converter to mmseg's backbone that it fits, and the layout of the foreign file that is made from it."""


def make_inputs(place: str) -> None:
    """Write all inputs to a folder; the same every time.

    Raises:
        SegplugError: an input cannot be made on this machine.
    """
    folder = Path(place)
    _write_texts(folder)
    _write_images(folder / "data")
    _write_networks(folder)
    _write_weights(folder / "weights")
    if importlib.util.find_spec("segplug_transformers"):
        _write_segformer(folder / SEGFORMER)


def _write_texts(folder: Path) -> None:
    (folder / "tiny.py").write_text(_CONFIG)
    (folder / "nets.py").write_text(_NETS)
    (folder / "token.txt").write_text("secret\n")
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    lines: list[dict[str, Any]] = [{"env_info": "Linux", "seed": 0, "exp_name": "tiny.py"}]
    for epoch in (1, 2, 3):
        lines += [
            {"mode": "train", "epoch": epoch, "iter": step, "lr": 0.01, "loss": 2 / epoch + step / 1000}
            for step in (50, 100)
        ]
        lines.append({"mode": "val", "epoch": epoch, "iter": 3, "lr": 0.01, "mIoU": 0.2 * epoch})
    (folder / "run.log.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _write_images(folder: Path) -> None:
    import cv2
    import numpy as np

    rng = np.random.default_rng(1)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        mask = np.kron(rng.integers(0, 4, (4, 6), dtype=np.uint8), np.ones((8, 8), dtype=np.uint8))
        image = (mask[..., None] * 60 + rng.integers(0, 30, (32, 48, 3))).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)


def _write_networks(folder: Path) -> None:
    """The checkpoint, an artifact of each format, and the label maps of a run."""
    import onnx
    import torch

    from segplug import Segplug
    from segplug.runtime.raw import RawSink
    from segplug.testing.weights import randomise

    sp = Segplug()
    config, checkpoint = str(folder / "tiny.py"), str(folder / "tiny.pth")
    segmentor: Any = sp.load_model(config).module
    randomise(segmentor.segmentor)
    state = {name: value.clone() for name, value in segmentor.segmentor.state_dict().items()}
    torch.save({"meta": {"CLASSES": CLASSES}, "state_dict": state}, checkpoint)
    model = sp.load_model(config, checkpoint=checkpoint)
    sp.export("onnx", model, output=folder / "tiny.onnx", dynamic=True, output_kind="logits")
    sp.export("torchscript", model, output=folder / "tiny.pt")
    sp.export("torch-export", model, output=folder / "tiny.pt2")
    foreign = onnx.load(folder / "tiny.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, folder / "foreign.onnx")
    sp.evaluate(
        folder / "tiny.onnx",
        backend="onnxruntime",
        dataset=str(folder / "data"),
        sinks=[RawSink(folder / "results.npz")],
    )
    _write_engine(folder)


def _write_engine(folder: Path) -> None:
    """An engine of TensorRT-RTX, which needs no GPU to be built; without the library a file that is none."""
    from segplug import Segplug
    from segplug.errors import SegplugError

    try:
        Segplug().build_engine(
            "tensorrt", folder / "tiny.onnx", output=folder / "tiny.engine", max_shape=("1x3x32x48",)
        )
    except SegplugError:
        (folder / "tiny.engine").write_bytes(bytes(64))


def _write_segformer(folder: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
        id2label=dict(enumerate(CLASSES)),
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    processor = {"image_processor_type": "SegformerImageProcessor", "size": {"height": 32, "width": 48}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def _write_weights(folder: Path) -> None:
    """For each converter a small file of foreign weights, made with it from mmseg's backbone."""
    import numpy as np
    import torch
    from segplug_mmseg.compat import import_mmseg

    from segplug import Segplug
    from segplug.checkpoint import write_weights

    import_mmseg()
    from mmseg.models import build_backbone

    folder.mkdir()
    for target, (settings, layout) in WEIGHTS.items():
        torch.manual_seed(0)
        ours = folder / "ours.pth"
        write_weights(ours, dict(build_backbone(dict(settings)).state_dict()))
        Segplug().convert_weights(target, ours, folder / f"{target}.pth", reverse=True, layout=layout)
        ours.unlink()
    np.savez(folder / "vit-jax.npz", **_google_arrays(np.random.default_rng(0)))


def _google_arrays(random: Any) -> dict[str, Any]:
    """The arrays of a ViT of one block, by the names in Google's files."""
    width, heads, hidden = 128, 2, 256
    shapes: dict[str, tuple[int, ...]] = {
        "cls": (1, 1, width),
        "embedding/kernel": (16, 16, 3, width),
        "embedding/bias": (width,),
        "Transformer/posembed_input/pos_embedding": (1, 17, width),
        "Transformer/encoder_norm/scale": (width,),
        "Transformer/encoder_norm/bias": (width,),
    }
    block = "Transformer/encoderblock_0/"
    attention = block + "MultiHeadDotProductAttention_1/"
    for norm in ("LayerNorm_0", "LayerNorm_2"):
        shapes |= {f"{block}{norm}/{part}": (width,) for part in ("scale", "bias")}
    for part in ("query", "key", "value"):
        shapes[f"{attention}{part}/kernel"] = (width, heads, width // heads)
        shapes[f"{attention}{part}/bias"] = (heads, width // heads)
    shapes[f"{attention}out/kernel"] = (heads, width // heads, width)
    shapes[f"{attention}out/bias"] = (width,)
    for number, (before, after) in enumerate(((width, hidden), (hidden, width))):
        shapes[f"{block}MlpBlock_3/Dense_{number}/kernel"] = (before, after)
        shapes[f"{block}MlpBlock_3/Dense_{number}/bias"] = (after,)
    return {name: random.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
