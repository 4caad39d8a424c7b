"""Small networks of mmsegmentation 0.30, and the logits that its code gives for them, in a file.

To write the file again, in an environment with 0.30 and from the root of the repository:

    PYTHONPATH=plugins/mmseg/tests python -m mmseg_support.stored_logits
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from segplug import Segplug

__all__ = ["FILE", "MODELS", "checkpoint_of", "logits_of", "write_config"]

FILE = Path(__file__).with_name("stored_logits.npz")
"""By name of a network, logits ``(classes, 16, 24)``: every fourth row and column of those of its input."""

_BN = {"type": "SyncBN", "requires_grad": True}
_HEAD = {
    "num_classes": 3,
    "norm_cfg": _BN,
    "align_corners": False,
    "loss_decode": {"type": "CrossEntropyLoss"},
}
_WHOLE = {"train_cfg": {}, "test_cfg": {"mode": "whole"}}

MODELS: dict[str, dict[str, Any]] = {
    "fcn": {
        "type": "EncoderDecoder",
        "pretrained": "open-mmlab://resnet18_v1c",
        "backbone": {
            "type": "ResNetV1c",
            "depth": 18,
            "stem_channels": 8,
            "base_channels": 8,
            "dilations": (1, 1, 2, 4),
            "strides": (1, 2, 1, 1),
            "norm_cfg": _BN,
            "contract_dilation": True,
        },
        "decode_head": {"type": "FCNHead", "in_channels": 64, "in_index": 3, "channels": 8, **_HEAD},
        "auxiliary_head": {"type": "FCNHead", "in_channels": 32, "in_index": 2, "channels": 8, **_HEAD},
        **_WHOLE,
    },
    "segformer": {
        "type": "EncoderDecoder",
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 8,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 2, 4, 8],
            "patch_sizes": [7, 3, 3, 3],
            "sr_ratios": [8, 4, 2, 1],
            "mlp_ratio": 2,
        },
        "decode_head": {
            "type": "SegformerHead",
            "in_channels": [8, 16, 32, 64],
            "in_index": [0, 1, 2, 3],
            "channels": 16,
            **_HEAD,
        },
        **_WHOLE,
    },
    "swin": {
        "type": "EncoderDecoder",
        "backbone": {
            "type": "SwinTransformer",
            "embed_dims": 8,
            "depths": [2, 1, 1, 1],
            "num_heads": [1, 2, 4, 8],
            "window_size": 4,
            "mlp_ratio": 2,
        },
        "decode_head": {
            "type": "UPerHead",
            "in_channels": [8, 16, 32, 64],
            "in_index": [0, 1, 2, 3],
            "pool_scales": (1, 2, 3),
            "channels": 8,
            **_HEAD,
        },
        **_WHOLE,
    },
    "vit": {
        "type": "EncoderDecoder",
        "backbone": {
            "type": "VisionTransformer",
            "img_size": (64, 96),
            "embed_dims": 16,
            "num_layers": 2,
            "num_heads": 2,
            "out_indices": (0, 1),
        },
        "decode_head": {"type": "FCNHead", "in_channels": 16, "in_index": 1, "channels": 8, **_HEAD},
        **_WHOLE,
    },
}

_DATA = """
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(96, 64), flip=False, transforms=[
        dict(type='Resize', keep_ratio=False),
        dict(type='RandomFlip'),
        dict(type='Normalize', mean=[1., 2., 3.], std=[4., 5., 6.], to_rgb=True),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(test=dict(
    type='CustomDataset', data_root='nowhere', img_dir='images', ann_dir='masks',
    classes=('sky', 'road', 'car'), palette=[[0, 0, 255], [128, 64, 128], [255, 0, 0]],
    pipeline=test_pipeline))
"""


def write_config(name: str, folder: Path) -> Path:
    """A config of 0.30 for one of ``MODELS``."""
    file = folder / f"{name}.py"
    file.write_text(f"model = {MODELS[name]!r}\n{_DATA}")
    return file


def checkpoint_of(state: dict[str, torch.Tensor], folder: Path) -> Path:
    """A checkpoint as 0.30 writes it, with values that depend on the names in ``state``."""
    file = folder / "weights.pth"
    torch.save(
        {"meta": {}, "state_dict": {name: _values(name, value) for name, value in state.items()}}, file
    )
    return file


def _values(name: str, like: torch.Tensor) -> torch.Tensor:
    if not like.is_floating_point():
        return like
    random = torch.rand(like.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    return random + 0.5 if like.dim() < 2 else (random - 0.5) * 4 * like[0].numel() ** -0.5


def logits_of(name: str, folder: Path) -> npt.NDArray[np.float32]:
    """The logits ``(classes, 64, 96)`` that the installed mmseg gives for a network of ``MODELS``."""
    config, session = write_config(name, folder), Segplug()
    state = session.load_model(config, structure_only=True).module.segmentor.state_dict()
    module = session.load_model(config, checkpoint=checkpoint_of(state, folder)).module
    with torch.inference_mode(), _one_thread():
        logits: npt.NDArray[np.float32] = module(_image())[0].numpy()
    return logits


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in the same order on every machine with the same kind of CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _image() -> torch.Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        np.savez_compressed(FILE, **{name: logits_of(name, Path(scratch))[:, ::4, ::4] for name in MODELS})
