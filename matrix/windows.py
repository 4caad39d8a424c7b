"""Slide inference with PyTorch alone: the reference for libraries that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    import torch

    from segplug.model import SegmentationModel

__all__ = ["slide_inference", "stepwise"]


def slide_inference(model: SegmentationModel) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """The slide inference of a prepared image ``(C, H, W)``: see :func:`stepwise`."""

    def scores(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            return stepwise(model, array)

    return scores


def stepwise(model: SegmentationModel, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The scores ``(classes, H, W)`` of an image ``(C, H, W)``.

    Each window's scores are brought to the window's size, added, and divided by how many windows saw a pixel.
    """
    import torch

    crop, stride = model.meta.inference.crop_size, model.meta.inference.stride
    assert crop is not None
    assert stride is not None
    size = (array.shape[1], array.shape[2])
    total, counts = torch.zeros(1, model.meta.out_channels, *size), torch.zeros(1, 1, *size)
    for top in _starts(size[0], crop[0], stride[0]):
        for left in _starts(size[1], crop[1], stride[1]):
            rows, columns = slice(top, top + crop[0]), slice(left, left + crop[1])
            window = torch.from_numpy(array[:, rows, columns])[None]
            total[:, :, rows, columns] += _at_size(model.module(window), crop)
            counts[:, :, rows, columns] += 1
    found: npt.NDArray[np.float32] = (total / counts)[0].numpy()
    return found


def _starts(length: int, crop: int, stride: int) -> list[int]:
    steps = range(-(-max(length - crop, 0) // stride) + 1)
    return [min(step * stride, length - crop) for step in steps]


def _at_size(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    import torch

    return torch.nn.functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
