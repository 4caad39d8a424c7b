"""Threads that read and preprocess images before the engine needs them, in the data set's order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.errors import DatasetError, ShapeError
from segplug.runtime.dataset_files import file_states, input_files
from segplug.runtime.preprocess import Geometry, Preprocessor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.dataset import Dataset

__all__ = ["Failed", "ImageReader", "Item", "groups"]

_MAX_READERS = 8


@dataclass(frozen=True)
class Item:
    """One image that is read and preprocessed."""

    index: int
    name: str
    array: npt.NDArray[Any]
    """The engine's input: float32 ``(3, H, W)``, or an image, uint8 ``(H, W, 3)``."""
    geometry: Geometry
    image: npt.NDArray[np.uint8] | None
    mask: npt.NDArray[np.uint8] | None
    files: list[list[int] | None]
    """The states of the files it was read from, taken before reading."""


@dataclass(frozen=True)
class Failed:
    """An image that could not be read or preprocessed."""

    index: int
    name: str
    error: DatasetError | ShapeError


class ImageReader:
    """Reads and preprocesses images in threads.

    Args:
        dataset: The data set.
        preprocessor: Makes network inputs of the images.
        keep_image: Whether a sink needs the image itself.
        read_mask: Whether a sink needs the mask.
        readers: Number of threads; ``None``: as many as there are processors, at most 8.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocessor: Preprocessor,
        *,
        keep_image: bool,
        read_mask: bool,
        readers: int | None,
    ) -> None:
        self._dataset = dataset
        self._preprocessor = preprocessor
        self._keep_image = keep_image
        self._read_mask = read_mask
        self._readers = max(readers or min(os.cpu_count() or 1, _MAX_READERS), 1)

    def items(self, indices: Sequence[int], *, ahead: int) -> Generator[Item | Failed, None, None]:
        """The images at ``indices``, in that order.

        Args:
            indices: Their indices in the data set.
            ahead: How many images to keep ready besides those that are being read.
        """
        waiting: deque[Future[Item | Failed]] = deque()
        todo = iter(indices)
        with ThreadPoolExecutor(self._readers, thread_name_prefix="segplug-reader") as pool:
            try:
                for index in _first(todo, self._readers + ahead):
                    waiting.append(pool.submit(self._read, index))
                while waiting:
                    item = waiting.popleft().result()
                    for index in _first(todo, 1):
                        waiting.append(pool.submit(self._read, index))
                    yield item
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def file_states(self, index: int) -> list[list[int] | None]:
        """The states of the files of an image, which show whether they have changed."""
        return file_states(input_files(self._dataset, index, mask=self._read_mask))

    def _read(self, index: int) -> Item | Failed:
        name = self._dataset.name(index)
        files = self.file_states(index)
        try:
            image = self._dataset.read_image(index)
            mask = self._dataset.read_mask(index) if self._read_mask else None
            if mask is not None and mask.shape != image.shape[:2]:
                raise DatasetError(
                    f"the mask of {name} is {mask.shape[0]}x{mask.shape[1]} (height x width), "
                    f"the image {image.shape[0]}x{image.shape[1]}"
                )
            prepared = self._preprocessor(image, name)
        except (DatasetError, ShapeError) as error:
            return Failed(index, name, error)
        kept = image if self._keep_image else None
        return Item(index, name, prepared.array, prepared.geometry, kept, mask, files)


def _first(indices: Iterator[int], number: int) -> Iterator[int]:
    for _, index in zip(range(number), indices, strict=False):
        yield index


def groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Groups of at most ``size`` consecutive items of one network size."""
    group: list[Item] = []
    for item in items:
        if group and item.array.shape != group[0].array.shape:
            yield group
            group = []
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
