"""The networks of transformers that the matrix measures, of sizes that are in use, and what slides them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.families import Case
from matrix.windows import stepwise

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.api import Segplug
    from segplug.model import SegmentationModel

__all__ = ["load", "slide_inference"]

LABELS = 19
STAGES = ["stage1", "stage2", "stage3", "stage4"]
BLOCKS = ["stage3", "stage6", "stage9", "stage12"]
"""The blocks of a vision transformer of 12 blocks whose output a head takes."""
SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
"""A small vision transformer (ViT-S)."""


def load(session: Segplug, family: str, case: Case, *, slides: bool = False) -> SegmentationModel:
    """The network of a case, with random weights: the same each time.

    Args:
        session: Loads it from a folder that transformers has written, without weights.
        family: One of the cases of :mod:`matrix.families_transformers`.
        case: The name of its class.
        slides: Whether it slides windows.
    """
    import transformers

    from matrix.transformers_zoo import save_processor
    from segplug.testing import randomise

    config = _CONFIGS[family](case)
    config.id2label = {number: f"class {number}" for number in range(LABELS)}
    config.architectures = [case.config]
    assert hasattr(transformers, case.config)
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        save_processor(family, Path(folder), case.size)
        options: dict[str, Any] = dict(case.window) if slides else {}
        model = session.load_model(folder, structure_only=True, processor="pil", **options)
    randomise(model.module)
    return model


def slide_inference(model: SegmentationModel) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """The slide inference of a prepared image ``(C, H, W)``, with PyTorch and transformers alone.

    Windows that lie even are cut and merged by EoMT's processor; others by :mod:`matrix.windows`.
    """
    import torch

    windows = model.meta.inference

    def scores(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            if windows.placement == "even":
                return _evenly(model, array)
            return stepwise(model, array)

    return scores


def _evenly(model: SegmentationModel, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    import torch
    from transformers import EomtImageProcessorPil
    from transformers.image_utils import SizeDict

    crop = model.meta.inference.crop_size
    assert crop is not None
    edge = crop[0]
    processor: Any = EomtImageProcessorPil()
    windows, places = processor._split_image(array, SizeDict(shortest_edge=edge), 0)
    found = torch.cat([model.module(torch.from_numpy(window)[None]) for window in windows])
    sizes = {"shortest_edge": edge, "longest_edge": None}
    merged = processor.merge_image_patches(found, places, [array.shape[1:]], sizes)[0]
    values: npt.NDArray[np.float32] = merged.numpy()
    return values


def _upernet(backbone: Any) -> Any:
    import transformers

    return transformers.UperNetConfig(backbone_config=backbone, use_auxiliary_head=False)


def _swin() -> Any:
    import transformers

    return transformers.SwinConfig(out_features=STAGES)


def _segformer(_: Case) -> Any:
    import transformers

    return transformers.SegformerConfig()


def _upernet_convnext(_: Case) -> Any:
    import transformers

    return _upernet(
        transformers.ConvNextConfig(
            depths=[3, 3, 9, 3], hidden_sizes=[96, 192, 384, 768], out_features=STAGES
        )
    )


def _upernet_swin(_: Case) -> Any:
    return _upernet(_swin())


def _upernet_dinov2(_: Case) -> Any:
    import transformers

    return _upernet(transformers.Dinov2Config(**SMALL, out_features=BLOCKS))


def _upernet_dinov3(_: Case) -> Any:
    import transformers

    return _upernet(transformers.DINOv3ViTConfig(**SMALL, num_register_tokens=4, out_features=BLOCKS))


def _beit(case: Case) -> Any:
    import transformers

    return transformers.BeitConfig(
        image_size=case.size[0],
        use_relative_position_bias=True,
        out_indices=[3, 5, 7, 11],
        use_auxiliary_head=False,
    )


def _data2vec(case: Case) -> Any:
    import transformers

    return transformers.Data2VecVisionConfig(
        image_size=case.size[0], use_relative_position_bias=True, use_auxiliary_head=False
    )


def _dpt(case: Case) -> Any:
    import transformers

    return transformers.DPTConfig(image_size=case.size[0])


def _dpt_hybrid(case: Case) -> Any:
    import transformers

    return transformers.DPTConfig(
        is_hybrid=True, image_size=case.size[0], neck_hidden_sizes=[256, 512, 768, 768]
    )


def _mobilenet_v2(_: Case) -> Any:
    import transformers

    return transformers.MobileNetV2Config(output_stride=8)


def _mobilevit(_: Case) -> Any:
    import transformers

    return transformers.MobileViTConfig(output_stride=16)


def _mobilevitv2(_: Case) -> Any:
    import transformers

    return transformers.MobileViTV2Config(output_stride=16)


def _sapiens2(case: Case) -> Any:
    import transformers

    return transformers.Sapiens2Config(
        **SMALL,
        image_size=case.size,
        intermediate_size=1536,
        num_key_value_attention_heads=3,
        num_register_tokens=4,
        head_config={"upsample_out_channels": [128, 128], "conv_out_channels": [64, 64]},
    )


def _tipsv2_dpt(_: Case) -> Any:
    import transformers

    return transformers.Tipsv2DptConfig()


def _maskformer(_: Case) -> Any:
    import transformers

    return transformers.MaskFormerConfig(backbone_config=_swin())


def _mask2former(_: Case) -> Any:
    import transformers

    return transformers.Mask2FormerConfig(backbone_config=_swin())


def _oneformer(_: Case) -> Any:
    import transformers

    return transformers.OneFormerConfig(backbone_config=_swin())


def _eomt(case: Case) -> Any:
    import transformers

    return transformers.EomtConfig(**SMALL, image_size=case.size[0])


def _eomt_dinov3(case: Case) -> Any:
    import transformers

    return transformers.EomtDinov3Config(**SMALL, intermediate_size=1536, image_size=case.size[0])


def _videomt(case: Case) -> Any:
    import transformers

    return transformers.VideomtConfig(**SMALL, image_size=case.size[0])


def _detr(_: Case) -> Any:
    import transformers

    return transformers.DetrConfig(backbone_config=transformers.ResNetConfig(out_features=STAGES))


_CONFIGS: dict[str, Callable[[Case], Any]] = {
    "beit": _beit,
    "data2vec-vision": _data2vec,
    "detr": _detr,
    "dpt": _dpt,
    "dpt-hybrid": _dpt_hybrid,
    "eomt": _eomt,
    "eomt_dinov3": _eomt_dinov3,
    "mask2former": _mask2former,
    "maskformer": _maskformer,
    "mobilenet_v2": _mobilenet_v2,
    "mobilevit": _mobilevit,
    "mobilevitv2": _mobilevitv2,
    "oneformer": _oneformer,
    "sapiens2": _sapiens2,
    "segformer": _segformer,
    "tipsv2_dpt": _tipsv2_dpt,
    "upernet-convnext": _upernet_convnext,
    "upernet-dinov2": _upernet_dinov2,
    "upernet-dinov3": _upernet_dinov3,
    "upernet-swin": _upernet_swin,
    "videomt": _videomt,
}
