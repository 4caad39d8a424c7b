"""The architectures of segmentation-models-pytorch, and how their arguments were once called."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ARCHITECTURES", "OLD_ARGUMENTS"]

ARCHITECTURES = (
    *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet"),
    *("DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet", "Segformer", "DPT"),
)
"""The values that ``_model_class`` in ``config.json`` has."""

_NORM = frozenset({"decoder_use_batchnorm"})
OLD_ARGUMENTS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("Unet", "UnetPlusPlus", "MAnet", "Linknet"), _NORM),
    "PSPNet": frozenset({"psp_use_batchnorm"}),
    "PAN": frozenset({"upscale_mode"}),
}
"""Arguments of older versions by architecture: the newer ones still take them, without naming them."""
