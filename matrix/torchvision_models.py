"""The segmentation networks of torchvision, as the matrix measures them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.families import Case
from matrix.windows import slide_inference

if TYPE_CHECKING:
    from segplug.api import Segplug
    from segplug.model import SegmentationModel

__all__ = ["FAMILIES", "load", "slide_inference"]

LABELS = 21
"""As torchvision's own weights have."""
NAMES = (
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "fcn_resnet50",
    "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
)
"""The names of the networks, as torchvision's builders have them."""
FAMILIES: dict[str, Case] = {
    name: Case(f"torchvision:{name}", window={"crop_size": (128, 160), "stride": (85, 107)}) for name in NAMES
}
_TWO = ("low_classifier", "high_classifier")
"""The layers whose results LR-ASPP adds up to its scores."""


def load(session: Segplug, family: str, case: Case, *, slides: bool = False) -> SegmentationModel:
    """The network of a case, with random weights: the same each time. Every class is seen.

    Args:
        session: Loads it by its name.
        family: One of ``FAMILIES``.
        case: The same.
        slides: Whether it slides windows.
    """
    from matrix.balance import balance
    from segplug.testing import randomise

    model = session.load_model(case.config, structure_only=True, **(dict(case.window) if slides else {}))
    randomise(model.module)
    classifier = model.module.get_submodule("network.classifier")
    layers = [getattr(classifier, name) for name in _TWO] if family.startswith("lraspp") else [classifier[-1]]
    balance(model, layers, case.size)
    return model
