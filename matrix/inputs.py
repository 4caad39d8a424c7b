"""The image that networks are run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.model import ModelMeta

__all__ = ["sample_input"]


def sample_input(meta: ModelMeta, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The sample image in this (height, width), preprocessed for the model: ``(C, height, width)``."""
    from segplug.runtime.preprocess import Preprocessor
    from segplug.verification.run import verification_images

    ((name, sample, resized),) = verification_images((), meta, size)
    return Preprocessor(resized)(sample, name).array
