"""The networks of mmsegmentation that the matrix measures, and mmseg's own slide inference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix.families import Case

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.api import Segplug
    from segplug.model import SegmentationModel

__all__ = ["load", "slide_inference"]


def load(session: Segplug, family: str, case: Case, *, slides: bool = False) -> SegmentationModel:
    """The network of a case, with random weights: the same each time.

    Args:
        session: Loads it.
        family: The folder of its config.
        case: Its config.
        slides: Whether it slides windows.
    """
    import torch
    from segplug_mmseg.compat import import_mmseg

    from segplug.testing import randomise

    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    torch.manual_seed(0)
    options = dict(case.window) if slides else {}
    model = session.load_model(configs / family / case.config, cfg_options=options)
    if case.randomised:
        randomise(model.module)
    return model


def slide_inference(model: SegmentationModel) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """mmseg's own slide inference on a prepared image ``(C, H, W)``; it returns its scores, at its size."""
    import torch

    segmentor: Any = model.module.segmentor
    more = () if hasattr(segmentor, "data_preprocessor") else (False,)  # 0.x resizes to the image, too

    def scores(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            found = segmentor.slide_inference(torch.from_numpy(array)[None], [{}], *more)[0]
        values: npt.NDArray[np.float32] = found.numpy()
        return values

    return scores
