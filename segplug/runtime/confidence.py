"""The sink that writes the probability of each label."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from segplug.runtime.pictures import StemSink
from segplug.sink import ImageResult

__all__ = ["ConfidenceSink"]


class ConfidenceSink(StemSink):
    """Writes the probability of each pixel's label as ``<stem>.npy``: float32 ``(H, W)``, 0 to 1.

    Args:
        folder: The output folder; made if it does not exist.
    """

    needs_confidence = True
    what = "confidences"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ".npy")

    def encoded(self, result: ImageResult) -> bytes:
        assert result.confidence is not None
        content = io.BytesIO()
        np.save(content, result.confidence, allow_pickle=False)
        return content.getvalue()
