"""Read the label maps of saved predictions: ``.npz``, a folder of label maps, or mmseg's ``.pkl``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segplug.dataset import Dataset, DatasetInfo
from segplug.errors import ArtifactError, DatasetError, UsageError
from segplug.regular_files import why_no_file
from segplug.runtime.pictures import id_table, label_map_files
from segplug.runtime.raw import BIT_MASKS
from segplug.runtime.reading import MAX_PIXELS, read_mask
from segplug.text import counted, encodable
from segplug_analysis.confusion.pickles import read_arrays

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["LabelMaps", "open_results"]

_NAMED = 3
"""How many names an error lists."""

_DAMAGES = (
    OSError,
    ValueError,
    MemoryError,
    EOFError,
    RuntimeError,  # encrypted; with NotImplementedError: an unknown compression
    zipfile.BadZipFile,
    zlib.error,
)
"""The errors of reading a damaged .npz."""

_NO_LABEL = -1
"""The label of an id that the data set's format does not have."""

_PICKLES = (".pkl", ".pickle")

_LARGEST = 8 * MAX_PIXELS + (1 << 16)
"""Bytes of an array of the widest labels, with its header."""


class LabelMaps(Protocol):
    """One label map for each image of a data set, read on demand."""

    def labels(self, index: int) -> npt.NDArray[Any]:
        """Integers ``(H, W)``.

        Raises:
            ArtifactError: the file is damaged.
            DatasetError: its content is no label map.
        """
        ...


def check_results(location: str) -> None:
    """Check, without reading it, that a location can hold saved predictions.

    Raises:
        UsageError: it does not exist, or its format is unknown.
    """
    path = Path(location)
    if path.is_dir():
        return
    if reason := why_no_file(path):
        raise UsageError(reason)
    if path.suffix not in (".npz", *_PICKLES):
        raise UsageError(
            f"{location} has no predictions in a known format",
            hint="name an .npz, a folder of label maps or mmseg's results .pkl",
        )


def open_results(location: str, dataset: Dataset, num_classes: int, *, trust: bool) -> LabelMaps:
    """Open saved predictions, and check that they belong to this data set.

    Args:
        location: ``.npz``, a folder of PNG or TIFF files as ``--format-only`` writes them, or mmseg's
            ``.pkl``.
        dataset: The data set of the predictions.
        num_classes: K.
        trust: Allow the full unpickler, which can run code that a ``.pkl`` holds.

    Raises:
        UsageError: it does not exist, its format is unknown, or it has bit masks of several classes.
        ArtifactError: it is damaged, or is a pickle that needs ``trust``.
        DatasetError: images have no result, or results no image.
    """
    check_results(location)
    path = Path(location)
    if path.is_dir():
        return _Folder(path, dataset, num_classes)
    if path.suffix == ".npz":
        return _Archive(path, dataset)
    return _List(path, dataset, trust=trust)


class _Archive:
    """The file of ``segplug infer ... --out``: an array for each image, under its name."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._path = path
        self._dataset = dataset
        if not zipfile.is_zipfile(path):
            raise ArtifactError(f"the results {path} are damaged: no .npz, or cut off")
        try:
            self._archive: Any = np.load(path, allow_pickle=False)
        except _DAMAGES as error:
            raise ArtifactError(f"the results {path} are damaged: {error}") from error
        if self._archive.zip.comment == BIT_MASKS:
            raise UsageError(
                f"{path} has bit masks: a pixel may have several classes, and no confusion matrix counts "
                "them",
                hint="segplug infer --eval mIoU scores each class alone",
            )
        names = [encodable(dataset.name(index)) for index in range(len(dataset))]
        _check_names(names, self._archive.files, str(path), dataset.info.name)

    def labels(self, index: int) -> npt.NDArray[Any]:
        name = encodable(self._dataset.name(index))
        size = max(
            info.file_size for info in self._archive.zip.infolist() if info.filename in (name, f"{name}.npy")
        )
        if size > _LARGEST:  # before it is unpacked: a small file can hold a huge array
            raise ArtifactError(
                f"the result of {name} in {self._path} has {size:,} bytes, more than a label map can have"
            )
        try:
            labels = self._archive[name]
        except _DAMAGES as error:
            raise ArtifactError(f"the result of {name} in {self._path} is damaged: {error}") from error
        if not isinstance(labels, np.ndarray):  # numpy returns bytes for a member that is no .npy
            raise ArtifactError(f"the result of {name} in {self._path} is damaged: it is no .npy")
        return _label_map(labels, name)


class _Folder:
    """The folder of ``--format-only``: a file for each image, with the ids of the data set's server."""

    def __init__(self, folder: Path, dataset: Dataset, num_classes: int) -> None:
        self._folder = folder
        files = {suffix: list(folder.rglob(f"*{suffix}")) for suffix in (".png", ".tif")}
        suffix = next((suffix for suffix, found in files.items() if found), ".png")
        self._files = label_map_files(dataset, suffix)
        found = [file.relative_to(folder).as_posix() for file in files[suffix]]
        _check_names([str(file) for file in self._files], found, str(folder), dataset.info.name)
        form = dataset.info.label_format
        ids = {} if form is None or form.ids is None else form.ids
        self._wide = max(num_classes - 1, dataset.info.ignore_index, *ids.values()) > 255
        self._labels = _labels_of_ids(dataset.info, num_classes)
        if suffix == ".tif" and self._labels is None:
            # The ignored label is the file's nodata value, which is read as 255 or 65535.
            self._labels = np.arange(1 << 16, dtype=np.int32)
            self._labels[65535 if self._wide else 255] = dataset.info.ignore_index

    def labels(self, index: int) -> npt.NDArray[Any]:
        path = self._folder / self._files[index]
        ids = read_mask(path, wide=self._wide)
        if self._labels is None:
            return ids
        labels: npt.NDArray[Any] = self._labels[ids]
        unknown = np.unique(ids[labels == _NO_LABEL])
        if unknown.size:
            raise DatasetError(
                f"{path} has the value {_listing([str(value) for value in unknown])}, which is no class id "
                "of the data set's server",
                hint="name a folder that --format-only wrote for this data set",
            )
        return labels


def _labels_of_ids(info: DatasetInfo, num_classes: int) -> npt.NDArray[np.int32] | None:
    """A table from ids, 0 to 65535, to labels; ``None``: the files have labels.

    Raises:
        DatasetError: several labels are written as one id.
    """
    form = info.label_format
    if form is None or form.ids is None:
        return None
    table = id_table(form.ids, num_classes)
    written = table[:num_classes]
    ids, times = np.unique(written, return_counts=True)
    if len(ids) < num_classes:
        twice = int(ids[times > 1][0])
        same = np.flatnonzero(written == twice).astype(str).tolist()
        raise DatasetError(
            f"the data set {info.name} writes the labels {_listing(same)} as one id, {twice}: the labels "
            "cannot be read back from its files",
            hint="name an .npz that segplug infer wrote with --out",
        )
    labels = np.full(1 << 16, _NO_LABEL, np.int32)
    if 0 <= info.ignore_index < len(table):
        labels[table[info.ignore_index]] = info.ignore_index
    labels[written] = np.arange(num_classes)
    return labels


class _List:
    """The file of mmseg's test tool with ``--out``: arrays in the order of the data set, without names."""

    def __init__(self, path: Path, dataset: Dataset, *, trust: bool) -> None:
        self._dataset = dataset
        self._arrays = read_arrays(path, trust=trust)
        if len(self._arrays) != len(dataset):
            raise DatasetError(
                f"{path} holds {counted(len(self._arrays), 'result')}, the data set {dataset.info.name} has "
                f"{counted(len(dataset), 'image')}"
            )

    def labels(self, index: int) -> npt.NDArray[Any]:
        return _label_map(self._arrays[index], self._dataset.name(index))


def _label_map(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        raise DatasetError(
            f"the result of {name} is no label map: {array.dtype} of shape {'x'.join(map(str, array.shape))}",
            hint="a label map has height x width integers",
        )
    return array


def _check_names(wanted: Sequence[str], found: Collection[str], where: str, dataset: str) -> None:
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    if not missing and not extra:
        return
    faults = []
    if missing:
        faults.append(
            f"{len(missing)} of its {counted(len(wanted), 'image')} without a result ({_listing(missing)})"
        )
    if extra:
        faults.append(f"{counted(len(extra), 'result')} without an image ({_listing(extra)})")
    raise DatasetError(
        f"{where} does not belong to the data set {dataset}: {' and '.join(faults)}",
        hint="name the data set of these predictions",
    )


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
