"""The 12 architectures of segmentation-models-pytorch, and encoders, inputs and outputs of other kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from matrix.families import Case

__all__ = ["FAMILIES", "Network"]

WINDOW = {"crop_size": (128, 160), "stride": (85, 107)}


@dataclass(frozen=True, kw_only=True)
class Network(Case):
    """A network of smp."""

    architecture: str
    encoder: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """More arguments of the architecture's class."""


def _network(
    architecture: str, encoder: str, note: str = "", edge: int | None = None, **arguments: Any
) -> Network:
    """A network, of squares of one size if there is an edge."""
    more = "".join(f", {name}={value}" for name, value in arguments.items())
    one_size: dict[str, Any] = {}
    if edge is not None:
        step = edge // 3 * 2
        one_size = {"size": (edge, edge), "window": {"crop_size": (edge, edge), "stride": (step, step)}}
    return Network(
        **{"config": f"{architecture}({encoder}{more})", "window": WINDOW, "note": note, **one_size},
        architecture=architecture,
        encoder=encoder,
        arguments=arguments,
    )


_VIT = "vit_small_patch16_224"

FAMILIES: dict[str, Network] = {
    "unet": _network("Unet", "resnet34"),
    "unetplusplus": _network("UnetPlusPlus", "resnet34"),
    "manet": _network("MAnet", "resnet34"),
    "linknet": _network("Linknet", "resnet34"),
    "fpn": _network("FPN", "resnet34"),
    "pspnet": _network("PSPNet", "resnet34"),
    "deeplabv3": _network("DeepLabV3", "resnet34"),
    "deeplabv3plus": _network("DeepLabV3Plus", "resnet34"),
    "pan": _network("PAN", "resnet34"),
    "upernet": _network("UPerNet", "resnet34"),
    "segformer": _network("Segformer", "mit_b0"),
    "dpt": _network("DPT", f"tu-{_VIT}", dynamic_img_size=True),
    "dpt-one-size": _network("DPT", f"tu-{_VIT}", "its encoder's table of positions has one size.", 224),
    "unet-efficientnet": _network("Unet", "efficientnet-b0"),
    "unet-mobilenet_v2": _network("Unet", "mobilenet_v2"),
    "unet-timm-resnet": _network("Unet", "tu-resnet18"),
    "unet-timm-convnext": _network("Unet", "tu-convnext_tiny"),
    "unet-timm-efficientnetv2": _network("Unet", "tu-tf_efficientnetv2_b0"),
    "fpn-timm-mobilenetv3": _network("FPN", "tu-mobilenetv3_large_100"),
    "unet-4-channels": _network("Unet", "resnet18", in_channels=4),
    "unet-1-class": _network("Unet", "resnet18", classes=1),
    "fpn-multilabel": _network("FPN", "resnet18", activation="sigmoid"),
    "linknet-softmax": _network("Linknet", "resnet18", activation="softmax2d"),
}
