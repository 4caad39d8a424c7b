"""The sink that writes the probability of each label."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from segplug.files import make_folder, write_bytes
from segplug.runtime.dataset_files import refuse_dataset_file, refuse_searched_folder
from segplug.runtime.pictures import label_map_files
from segplug.sink import ImageResult, Notes, RunContext

__all__ = ["ConfidenceSink"]


class ConfidenceSink:
    """Writes the probability of each pixel's label as ``<stem>.npy``: float32 ``(H, W)``, 0 to 1.

    Each part of a concatenated data set gets its own folder: ``0``, ``1``, ...

    Args:
        folder: The output folder; made if it does not exist.
    """

    needs_image = False
    needs_mask = False
    needs_confidence = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def key(self) -> str:
        return f"confidence {self._folder.resolve()}"

    def open(self, run: RunContext) -> None:
        self._dataset = run.dataset
        refuse_searched_folder(self._folder, run.dataset)
        self._targets = label_map_files(run.dataset, ".npy")
        for folder in {target.parent for target in self._targets}:
            make_folder(self._folder / folder)

    def consume(self, result: ImageResult) -> Notes:
        assert result.confidence is not None
        target = self._folder / self._targets[result.index]
        refuse_dataset_file(target, self._dataset, result.index)
        content = io.BytesIO()
        np.save(content, result.confidence, allow_pickle=False)
        write_bytes(target, content.getvalue())
        return {}

    def has(self, index: int, notes: Notes) -> bool:
        return (self._folder / self._targets[index]).is_file()

    def restore(self, index: int, notes: Notes) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        pass
