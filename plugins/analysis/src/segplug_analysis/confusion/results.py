"""The label maps of a results run, whatever it wrote: ``.npz``, a folder of PNGs, mmseg's ``.pkl``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segplug.dataset import Dataset, LabelFormat
from segplug.errors import ArtifactError, DatasetError, UsageError
from segplug.runtime.pictures import id_table, label_map_files
from segplug.runtime.read import read_mask
from segplug_analysis.confusion.pickles import read_arrays

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["LabelMaps", "open_results"]

_NAMED = 3
"""How many of many an error names."""

_DAMAGES = (
    OSError,
    ValueError,
    MemoryError,
    EOFError,
    RuntimeError,  # encrypted; with NotImplementedError: an unknown compression
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged .npz raises."""

_NO_LABEL = -1
"""What an id becomes that the data set's format does not know."""

_PICKLES = (".pkl", ".pickle")


class LabelMaps(Protocol):
    """One label map for each image of a data set, read when it is asked for."""

    def labels(self, index: int) -> npt.NDArray[Any]:
        """Integers ``(H, W)``.

        Raises:
            ArtifactError: the file is damaged.
            DatasetError: what it holds is no label map.
        """
        ...


def open_results(location: str, dataset: Dataset, num_classes: int, *, trust: bool) -> LabelMaps:
    """Open what a results run wrote, and check that it is of this data set.

    Args:
        location: ``.npz``, a folder of PNGs as ``--format-only`` writes them, or mmseg's ``.pkl``.
        dataset: What the run was made of.
        num_classes: K.
        trust: Allow the full unpickler, which can run code that a ``.pkl`` holds.

    Raises:
        UsageError: there is nothing of that name, or it is of no kind that is known.
        ArtifactError: it is damaged, or is a pickle that has to be trusted.
        DatasetError: images have no result, or results no image.
    """
    path = Path(location)
    if path.is_dir():
        return _Folder(path, dataset, num_classes)
    if not path.is_file():
        raise UsageError(f"there are no results {location}")
    if path.suffix == ".npz":
        return _Archive(path, dataset)
    if path.suffix in _PICKLES:
        return _List(path, dataset, trust=trust)
    raise UsageError(
        f"{location} is no results run", hint="name an .npz, a folder of PNGs or mmseg's results .pkl"
    )


class _Archive:
    """What ``segplug run infer ... --out`` writes: an array for each image, under its name."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._path = path
        self._dataset = dataset
        if not zipfile.is_zipfile(path):
            raise ArtifactError(f"the results {path} are damaged: no .npz, or cut off")
        try:
            self._archive: Any = np.load(path, allow_pickle=False)
        except _DAMAGES as error:
            raise ArtifactError(f"the results {path} are damaged: {error}") from error
        names = [dataset.name(index) for index in range(len(dataset))]
        _check_names(names, self._archive.files, str(path), dataset.info.name)

    def labels(self, index: int) -> npt.NDArray[Any]:
        name = self._dataset.name(index)
        try:
            labels = self._archive[name]
        except _DAMAGES as error:
            raise ArtifactError(f"the result of {name} in {self._path} is damaged: {error}") from error
        if not isinstance(labels, np.ndarray):  # what numpy hands out of a member that is no .npy
            raise ArtifactError(f"the result of {name} in {self._path} is damaged: it is no .npy")
        return _label_map(labels, name)


class _Folder:
    """What ``--format-only`` writes: a PNG for each image, in the ids of the data set's server."""

    def __init__(self, folder: Path, dataset: Dataset, num_classes: int) -> None:
        self._folder = folder
        self._files = label_map_files(dataset)
        found = [file.relative_to(folder).as_posix() for file in folder.rglob("*.png")]
        _check_names([str(file) for file in self._files], found, str(folder), dataset.info.name)
        self._labels = _labels_of_ids(dataset.info.label_format, num_classes, dataset.info.name)

    def labels(self, index: int) -> npt.NDArray[Any]:
        path = self._folder / self._files[index]
        ids = read_mask(path)
        if self._labels is None:
            return ids
        labels = self._labels[ids]
        unknown = np.unique(ids[labels == _NO_LABEL])
        if unknown.size:
            raise DatasetError(
                f"{path} holds {_listing([str(value) for value in unknown])}, which is no id of a class as "
                "the data set's server wants them",
                hint="name PNGs that --format-only wrote for this data set",
            )
        return labels


def _labels_of_ids(form: LabelFormat | None, num_classes: int, dataset: str) -> npt.NDArray[np.int32] | None:
    """Written id to label; ``None``: labels are written as they are.

    Raises:
        DatasetError: several labels are written as one id.
    """
    if form is None or form.ids is None:
        return None
    written = id_table(form.ids, num_classes)[:num_classes]
    ids, times = np.unique(written, return_counts=True)
    if len(ids) < num_classes:
        twice = int(ids[times > 1][0])
        same = np.flatnonzero(written == twice).astype(str).tolist()
        raise DatasetError(
            f"the data set {dataset} writes the labels {_listing(same)} as one id, {twice}: its PNGs do not "
            "say which was meant",
            hint="name an .npz that run infer wrote with --out",
        )
    labels = np.full(max(256, int(written.max()) + 1), _NO_LABEL, np.int32)
    labels[written] = np.arange(num_classes)
    return labels


class _List:
    """What mmseg's test tool writes with ``--out``: arrays in the order of the data set, without names."""

    def __init__(self, path: Path, dataset: Dataset, *, trust: bool) -> None:
        self._dataset = dataset
        self._arrays = read_arrays(path, trust=trust)
        if len(self._arrays) != len(dataset):
            raise DatasetError(
                f"{path} holds {len(self._arrays)} results, the data set {dataset.info.name} has "
                f"{len(dataset)} images"
            )

    def labels(self, index: int) -> npt.NDArray[Any]:
        return _label_map(self._arrays[index], self._dataset.name(index))


def _label_map(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        raise DatasetError(
            f"the result of {name} is no label map: {array.dtype} of shape {'x'.join(map(str, array.shape))}",
            hint="a label map is height x width whole numbers",
        )
    return array


def _check_names(wanted: Sequence[str], found: Collection[str], where: str, dataset: str) -> None:
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    if not missing and not extra:
        return
    faults = []
    if missing:
        faults.append(f"{len(missing)} of its {len(wanted)} images have no result ({_listing(missing)})")
    if extra:
        faults.append(f"{len(extra)} results have no image ({_listing(extra)})")
    raise DatasetError(
        f"{where} is not of the data set {dataset}: {' and '.join(faults)}",
        hint="name the data set that the results were made of",
    )


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
