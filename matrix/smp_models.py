"""The networks of segmentation-models-pytorch that the matrix measures, of sizes that are in use."""

from __future__ import annotations

import tempfile
import warnings
from typing import TYPE_CHECKING

from matrix.families_smp import FAMILIES
from matrix.windows import slide_inference

if TYPE_CHECKING:
    from matrix.families import Case
    from segplug.api import Segplug
    from segplug.model import SegmentationModel

__all__ = ["load", "slide_inference"]

LABELS = 19


def load(session: Segplug, family: str, case: Case, *, slides: bool = False) -> SegmentationModel:
    """The network of a case, with random weights: the same each time. Every class is seen.

    Args:
        session: Loads it from a folder that smp has written.
        family: One of the cases of :mod:`matrix.families_smp`.
        case: The same.
        slides: Whether it slides windows.
    """
    import segmentation_models_pytorch as smp
    from torch import nn

    from matrix.balance import balance
    from segplug.testing import randomise

    made = FAMILIES[family]
    arguments = {"classes": LABELS, **made.arguments}
    with tempfile.TemporaryDirectory() as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are replaced in the library
            network = getattr(smp, made.architecture)(made.encoder, encoder_weights=None, **arguments)
        network.save_pretrained(folder)
        model = session.load_model(folder, **(dict(case.window) if slides else {}))
    randomise(model.module)
    head = model.module.get_submodule("segmentation_head")
    *_, last = (part for part in head.modules() if isinstance(part, nn.Conv2d))
    balance(model, [last], case.size)
    return model
