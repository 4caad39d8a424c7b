"""A network of each segmentation class of transformers; of UPerNet and DPT one for each kind of backbone."""

from __future__ import annotations

from matrix.families import Case

__all__ = ["FAMILIES"]

QUERIES = "its scores are sums over queries, not logits."
ONE_SIZE = "its code gives every feature map the shape that the image size of its config has."
PARTS = "each patch of 14 pixels becomes 8 scores, so that only one size of scores can be said."
TWO_PLACES = "Its windows lie along the long edge: slide compares them with the processor's own."


def _case(name: str, note: str = "") -> Case:
    return Case(name, window={"crop_size": (128, 160), "stride": (85, 107)}, note=note)


def _patches(name: str, note: str = "") -> Case:
    """A network of patches of 14x14 pixels."""
    return Case(name, size=(126, 196), window={"crop_size": (126, 154), "stride": (84, 98)}, note=note)


def _square(name: str, edge: int, note: str = "") -> Case:
    """A network that takes squares, or one size."""
    step = edge // 3 * 2
    return Case(
        name, size=(edge, edge), window={"crop_size": (edge, edge), "stride": (step, step)}, note=note
    )


def _split(name: str) -> Case:
    """A network whose processor cuts images into even windows."""
    return Case(name, size=(256, 256), window={}, note=f"{QUERIES} {TWO_PLACES}")


FAMILIES: dict[str, Case] = {
    "beit": _square("BeitForSemanticSegmentation", 224),
    "data2vec-vision": _square("Data2VecVisionForSemanticSegmentation", 224, ONE_SIZE),
    "detr": _case("DetrForSegmentation", QUERIES),
    "dpt": _square("DPTForSemanticSegmentation", 384),
    "dpt-hybrid": _square("DPTForSemanticSegmentation", 384),
    "eomt": _split("EomtForUniversalSegmentation"),
    "eomt_dinov3": _split("EomtDinov3ForUniversalSegmentation"),
    "mask2former": _case(
        "Mask2FormerForUniversalSegmentation", f"{QUERIES} They are 384x384 for every input."
    ),
    "maskformer": _case("MaskFormerForInstanceSegmentation", QUERIES),
    "mobilenet_v2": _case("MobileNetV2ForSemanticSegmentation"),
    "mobilevit": _case("MobileViTForSemanticSegmentation"),
    "mobilevitv2": _case("MobileViTV2ForSemanticSegmentation"),
    "oneformer": _case("OneFormerForUniversalSegmentation", f"{QUERIES} The task is semantic segmentation."),
    "sapiens2": _case("Sapiens2ForSemanticSegmentation"),
    "segformer": _case("SegformerForSemanticSegmentation"),
    "tipsv2_dpt": _patches("Tipsv2DptForSemanticSegmentation", PARTS),
    "upernet-convnext": _case("UperNetForSemanticSegmentation"),
    "upernet-dinov2": _patches("UperNetForSemanticSegmentation"),
    "upernet-dinov3": _case("UperNetForSemanticSegmentation"),
    "upernet-swin": _case("UperNetForSemanticSegmentation"),
    "videomt": _square(
        "VideomtForUniversalSegmentation", 256, f"{QUERIES} An image is a video of one frame."
    ),
}
