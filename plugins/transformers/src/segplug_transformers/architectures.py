"""The segmentation models of transformers: a table that needs no import of transformers.

``config.json`` names its class in ``architectures``. What is not in the table is no segmentation model, or
one that takes prompts besides an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["ARCHITECTURES", "Architecture"]


@dataclass(frozen=True)
class Architecture:
    """A model class of transformers."""

    name: str
    """The class: ``SegformerForSemanticSegmentation``."""
    model_type: str
    """Its name in ``config.json``."""
    kind: Literal["semantic", "queries"]
    """Whether it gives logits for each pixel, or a class and a mask for each query."""
    processor: str | None
    """The processor that transformers takes where a folder does not name one, without ``Pil``."""


_TABLE = (
    ("BeitForSemanticSegmentation", "beit", "semantic", "BeitImageProcessor"),
    ("Data2VecVisionForSemanticSegmentation", "data2vec-vision", "semantic", "BeitImageProcessor"),
    ("DPTForSemanticSegmentation", "dpt", "semantic", "DPTImageProcessor"),
    ("MobileNetV2ForSemanticSegmentation", "mobilenet_v2", "semantic", "MobileNetV2ImageProcessor"),
    ("MobileViTForSemanticSegmentation", "mobilevit", "semantic", "MobileViTImageProcessor"),
    ("MobileViTV2ForSemanticSegmentation", "mobilevitv2", "semantic", "MobileViTImageProcessor"),
    ("Sapiens2ForSemanticSegmentation", "sapiens2", "semantic", "Sapiens2ImageProcessor"),
    ("SegformerForSemanticSegmentation", "segformer", "semantic", "SegformerImageProcessor"),
    ("Tipsv2DptForSemanticSegmentation", "tipsv2_dpt", "semantic", "Tipsv2DptImageProcessor"),
    ("UperNetForSemanticSegmentation", "upernet", "semantic", "SegformerImageProcessor"),
    ("DetrForSegmentation", "detr", "queries", "DetrImageProcessor"),
    ("EomtForUniversalSegmentation", "eomt", "queries", "EomtImageProcessor"),
    ("EomtDinov3ForUniversalSegmentation", "eomt_dinov3", "queries", "EomtImageProcessor"),
    ("Mask2FormerForUniversalSegmentation", "mask2former", "queries", "Mask2FormerImageProcessor"),
    ("MaskFormerForInstanceSegmentation", "maskformer", "queries", "MaskFormerImageProcessor"),
    ("OneFormerForUniversalSegmentation", "oneformer", "queries", "OneFormerImageProcessor"),
    ("VideomtForUniversalSegmentation", "videomt", "queries", "VideomtVideoProcessor"),
)

ARCHITECTURES: Mapping[str, Architecture] = {
    name: Architecture(name, model_type, "semantic" if kind == "semantic" else "queries", processor)
    for name, model_type, kind, processor in _TABLE
}
"""The name of a class: what is known of it."""
