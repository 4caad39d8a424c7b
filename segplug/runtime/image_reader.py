"""Threads that read and preprocess images before the engine needs them, in the data set's order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError, ShapeError
from segplug.runtime.dataset_files import file_states, input_files
from segplug.runtime.preprocess import Prepared

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import Dataset
    from segplug.preprocessing import Decoding

__all__ = ["Failed", "ImageReader", "Item", "Sample", "groups", "split_masked", "usual_readers"]

_MAX_READERS = 8


@dataclass(frozen=True)
class Sample:
    """An image, and which of its pixels have no data."""

    image: npt.NDArray[Any]
    """``(H, W, C)``."""
    nodata: npt.NDArray[np.bool_] | None
    """``(H, W)``; ``None``: all pixels have data."""


def split_masked(image: npt.NDArray[Any]) -> Sample:
    """Split a masked array ``(H, W, C)``. A pixel has no data where all its channels are masked.

    A masked value that is not finite becomes 0: a network cannot take it.
    """
    if not isinstance(image, np.ma.MaskedArray):
        return Sample(image, None)
    pixels, masked = image.data, np.ma.getmaskarray(image)
    nodata: npt.NDArray[np.bool_] = np.asarray(masked.all(axis=-1))
    if pixels.dtype.kind == "f":
        bad = masked & ~np.isfinite(pixels)
        if bad.any():
            pixels = np.where(bad, pixels.dtype.type(0), pixels)
    return Sample(pixels, nodata if nodata.any() else None)


@dataclass(frozen=True)
class Item:
    """One image that is read and preprocessed."""

    index: int
    name: str
    prepared: tuple[Prepared, ...]
    """The engine's inputs, one for each view of the image."""
    image: npt.NDArray[Any] | None
    mask: npt.NDArray[Any] | None
    nodata: npt.NDArray[np.bool_] | None
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
        decoding: How files become images.
        preprocess: Makes the network's inputs of an image of some name.
        keep_image: Whether a sink needs the image itself.
        read_mask: Whether a sink needs the mask.
        readers: Number of threads; ``None``: as many as there are processors, at most 8.
    """

    def __init__(
        self,
        dataset: Dataset,
        decoding: Decoding,
        preprocess: Callable[[npt.NDArray[Any], str], tuple[Prepared, ...]],
        *,
        keep_image: bool,
        read_mask: bool,
        readers: int | None,
    ) -> None:
        self._dataset = dataset
        self._decoding = decoding
        self._preprocess = preprocess
        self._keep_image = keep_image
        self._read_mask = read_mask
        self._readers = max(readers or usual_readers(), 1)

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
            original = self._dataset.read_image(index, self._decoding)
            sample = split_masked(original)
            image = sample.image
            mask = self._dataset.read_mask(index) if self._read_mask else None
            if mask is not None and mask.shape != image.shape[:2]:
                raise DatasetError(
                    f"the mask of {name} is {mask.shape[0]}x{mask.shape[1]} (height x width), "
                    f"the image {image.shape[0]}x{image.shape[1]}"
                )
            prepared = self._preprocess(image, name)
        except (DatasetError, ShapeError) as error:
            return Failed(index, name, error)
        kept = original if self._keep_image else None
        return Item(index, name, prepared, kept, mask, sample.nodata, files)


def usual_readers() -> int:
    """As many threads as there are processors, at most 8."""
    return min(os.cpu_count() or 1, _MAX_READERS)


def _first(indices: Iterator[int], number: int) -> Iterator[int]:
    for _, index in zip(range(number), indices, strict=False):
        yield index


def groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Groups of at most ``size`` consecutive items of one network size and type."""
    group: list[Item] = []
    for item in items:
        if group and _kind(item) != _kind(group[0]):
            yield group
            group = []
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _kind(item: Item) -> tuple[tuple[int, ...], np.dtype[Any]]:
    array = item.prepared[0].array
    return array.shape, array.dtype
