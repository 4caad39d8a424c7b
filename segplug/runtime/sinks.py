"""Where results go: scores, painted images, label maps, one file of raw results, a window.

A sink gets every image's result once, in the data set's order, from one thread. What ``consume``
returns is noted in the run's journal; when an interrupted run resumes, the sink gets the notes back
through ``restore`` instead of the result.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segplug.dataset import LabelFormat
from segplug.errors import ArtifactError, DatasetError, UsageError
from segplug.runtime.libraries import opencv, pillow
from segplug.runtime.paint import Painter, palette_of
from segplug.runtime.score import Counts, Scores, check_metrics, count, score

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import Dataset
    from segplug.model import ModelMeta
    from segplug.reporting import Reporter

__all__ = [
    "ImageResult",
    "LabelMapSink",
    "PaintSink",
    "RunContext",
    "ScoreSink",
    "Sink",
    "write_atomically",
]

Notes = Mapping[str, Any]


@dataclass(frozen=True)
class RunContext:
    """What a sink may know of the run it belongs to."""

    meta: ModelMeta
    dataset: Dataset
    reporter: Reporter
    spool: Path | None
    """A folder that outlives an interruption; ``None``: this run cannot be resumed."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names: the data set's, else the model's, else numbers."""
        named = self.dataset.info.classes or self.meta.classes
        return named or tuple(str(label) for label in range(self.meta.num_classes))

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """RGB colours: the data set's, else the model's, else the random ones that are always the same."""
        return palette_of((self.dataset.info.palette, self.meta.palette), len(self.classes))


@dataclass(frozen=True)
class ImageResult:
    """One image's result."""

    index: int
    name: str
    labels: npt.NDArray[Any]
    """Unsigned integer ``(H, W)`` at the image's own size."""
    image: npt.NDArray[np.uint8] | None
    """The image, uint8 ``(H, W, 3)``, BGR; only if some sink ``needs_image``."""
    mask: npt.NDArray[np.uint8] | None
    """The mask, uint8 ``(H, W)``; only if some sink ``needs_mask``."""


class Sink(Protocol):
    """Something that takes results."""

    needs_image: bool
    needs_mask: bool

    @property
    def key(self) -> str:
        """Names the sink and the settings that change what it writes: part of the run's fingerprint."""
        ...

    def open(self, run: RunContext) -> None:
        """Called before any image is read: everything that can be refused is refused here."""
        ...

    def consume(self, result: ImageResult) -> Notes:
        """Take one result; return what the journal is to keep (JSON types)."""
        ...

    def restore(self, index: int, notes: Notes) -> None:
        """Take what ``consume`` returned for an image that an interrupted run had finished."""
        ...

    def close(self, *, finished: bool) -> None:
        """Called once after the last image, or (not ``finished``) when the run failed."""
        ...


class ScoreSink:
    """Counts pixels and computes scores at the end.

    Args:
        metrics: Some of ``mIoU``, ``mDice``, ``mFscore``.
        nan_to_num: What stands for absent classes; ``None``: NaN.
        beta: Weight of recall in ``mFscore``.
    """

    needs_image = False
    needs_mask = True

    def __init__(
        self, metrics: Sequence[str] = ("mIoU",), *, nan_to_num: float | None = None, beta: float = 1.0
    ) -> None:
        self._metrics = check_metrics(metrics)
        self._nan_to_num = nan_to_num
        self._beta = beta
        self._strange: set[int] = set()
        self.scores: Scores | None = None
        """Set when the run is finished."""

    @property
    def key(self) -> str:
        # Counts do not depend on the metrics: a resumed run may ask for others.
        return "scores"

    def open(self, run: RunContext) -> None:
        info = run.dataset.info
        if not info.has_masks:
            raise UsageError(f"the data set {info.name} has no masks, so there is nothing to score against")
        self._classes = run.classes
        predicted = run.meta.num_classes
        if not self._classes:
            raise UsageError("neither the data set nor the model says what the classes are")
        if predicted and predicted != len(self._classes):
            raise UsageError(
                f"the model predicts {predicted} classes, the data set {info.name} has {len(self._classes)}",
                hint="use the data set that the model was trained for",
            )
        if info.classes and run.meta.classes and info.classes != run.meta.classes:
            differing = next(
                f"{ours} and {theirs}"
                for ours, theirs in zip(run.meta.classes, info.classes, strict=True)
                if ours != theirs
            )
            run.reporter.warn(f"the model and the data set name their classes differently: {differing}")
        self._ignore_index = info.ignore_index
        self._reporter = run.reporter
        parts = info.parts or ((info.name, len(run.dataset)),)
        self._names = tuple(name for name, _ in parts)
        self._totals = [Counts.zeros(len(self._classes)) for _ in parts]
        self._ends = np.cumsum([length for _, length in parts])
        self._images = 0

    def consume(self, result: ImageResult) -> Notes:
        assert result.mask is not None
        counts, strange = count(
            result.labels,
            result.mask,
            num_classes=len(self._classes),
            ignore_index=self._ignore_index,
            name=result.name,
        )
        if strange and not self._strange:
            self._reporter.warn(
                f"masks hold values that are neither a class nor the ignored {self._ignore_index}: "
                f"{', '.join(map(str, strange))} (first in the mask of {result.name}); such pixels count "
                "as wrong predictions and as no label"
            )
        self._strange.update(strange)
        self._add(result.index, counts)
        return _sparse(counts)

    def restore(self, index: int, notes: Notes) -> None:
        self._add(index, _dense(notes, len(self._classes)))

    def _add(self, index: int, counts: Counts) -> None:
        self._totals[int(np.searchsorted(self._ends, index, side="right"))] += counts
        self._images += 1

    def close(self, *, finished: bool) -> None:
        if finished:
            self.scores = score(
                list(zip(self._names, self._totals, strict=True)),
                classes=self._classes,
                images=self._images,
                metrics=self._metrics,
                nan_to_num=self._nan_to_num,
                beta=self._beta,
            )


def _sparse(counts: Counts) -> Notes:
    """Class index to its three counts, for the classes that occur."""
    rows = zip(counts.intersect.tolist(), counts.prediction.tolist(), counts.label.tolist(), strict=True)
    return {str(label): row for label, row in enumerate(rows) if any(row)}


def _dense(notes: Notes, num_classes: int) -> Counts:
    counts = Counts.zeros(num_classes)
    for label, row in notes.items():
        counts.intersect[int(label)], counts.prediction[int(label)], counts.label[int(label)] = row
    return counts


class PaintSink:
    """Writes each image, painted, under the same relative name into a folder.

    Args:
        folder: Made if it is not there.
        opacity: Weight of the colours, in (0, 1].
    """

    needs_image = True
    needs_mask = False

    def __init__(self, folder: Path, *, opacity: float = 0.5) -> None:
        self._folder = folder
        self._opacity = opacity
        Painter(((0, 0, 0),), opacity=opacity)  # refuse a bad opacity before anything is loaded

    @property
    def key(self) -> str:
        return f"paint {self._folder.resolve()} {self._opacity}"

    def open(self, run: RunContext) -> None:
        self._dataset = run.dataset
        self._painter = Painter(run.palette, opacity=self._opacity)
        make_folder(self._folder)

    def consume(self, result: ImageResult) -> Notes:
        cv2 = opencv()
        assert result.image is not None
        relative = _inside(result.name)
        if not cv2.haveImageWriter(relative.name):
            relative = relative.with_name(relative.name + ".png")
        target = self._folder / relative
        refuse_input(target, self._dataset, result.index)
        _, encoded = cv2.imencode(relative.suffix, self._painter(result.image, result.labels))
        make_folder(target.parent)
        write_atomically(target, encoded.tobytes())
        return {}

    def restore(self, index: int, notes: Notes) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        pass


class LabelMapSink:
    """Writes each label map as a PNG ``<stem>.png``, as the data set's evaluation server wants it.

    A data set that says nothing of its format gets labels as they are, with a palette for people.
    The parts of a concatenated data set get a folder each: ``0``, ``1``, ...

    Args:
        folder: Made if it is not there.
    """

    needs_image = False
    needs_mask = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def key(self) -> str:
        return f"label maps {self._folder.resolve()}"

    def open(self, run: RunContext) -> None:
        self._dataset = run.dataset
        form = run.dataset.info.label_format
        self._palette = run.palette if form == LabelFormat() else form.palette
        self._ids = _id_table(form.ids, len(run.classes)) if form.ids is not None else None
        self._targets = _targets(run.dataset)
        for folder in {target.parent for target in self._targets}:
            make_folder(self._folder / folder)

    def consume(self, result: ImageResult) -> Notes:
        target = self._folder / self._targets[result.index]
        refuse_input(target, self._dataset, result.index)
        ids = result.labels if self._ids is None else self._ids[result.labels]
        write_atomically(target, _png(ids, self._palette))
        return {}

    def restore(self, index: int, notes: Notes) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        pass


def _targets(dataset: Dataset) -> list[PurePosixPath]:
    """The file of each image, relative to the sink's folder; two images never share one."""
    parts = dataset.info.parts
    folders = [str(number) for number, (_, length) in enumerate(parts) for _ in range(length)]
    targets = [
        PurePosixPath(folders[index] if len(parts) > 1 else "")
        / (PurePosixPath(dataset.name(index)).stem + ".png")
        for index in range(len(dataset))
    ]
    clashes = [str(target) for target, times in Counter(targets).items() if times > 1]
    if clashes:
        raise UsageError(
            f"{len(clashes)} label maps would be written twice, the first is {clashes[0]}: "
            "images in different folders have the same name",
            hint="run the folders one by one",
        )
    return targets


def _id_table(ids: Mapping[int, int], num_classes: int) -> npt.NDArray[Any]:
    size = 256 if max([num_classes - 1, *ids, *ids.values()]) < 256 else 65536
    table = np.arange(size, dtype=np.uint8 if size == 256 else np.uint16)
    for label, written in ids.items():
        # A negative id (Cityscapes' licence plate) is written as a byte, as everyone else does.
        table[label] = written & 0xFF if written < 0 else written
    return table


def _png(ids: npt.NDArray[Any], palette: tuple[tuple[int, int, int], ...] | None) -> bytes:
    import io

    Image = pillow()
    picture = Image.fromarray(ids.astype(np.uint8 if ids.dtype.itemsize == 1 else np.uint16))
    if palette and ids.dtype.itemsize == 1:
        picture = picture.convert("L")
        picture.putpalette([value for colour in palette[:256] for value in colour])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def make_folder(folder: Path) -> None:
    """Make an output folder; raises :class:`ArtifactError` if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file whole or not at all, replacing an older one.

    Raises:
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise ArtifactError(f"cannot write {target}: {error.strerror or error}") from error
        raise


def _inside(name: str) -> PurePosixPath:
    """An image's name as a path that cannot leave the output folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise DatasetError(f"the image name '{name}' does not stay inside a folder")
    return path


def refuse_input(target: Path, dataset: Dataset, index: int) -> None:
    """Never write over an image or mask of the data set, where it can say which files those are.

    Raises:
        UsageError: ``target`` is one of them.
    """
    if not target.exists():
        return
    for locate in ("image_path", "mask_path"):
        find = getattr(dataset, locate, None)
        source = find(index) if find else None
        if source is not None and Path(source).exists() and target.samefile(source):
            raise UsageError(f"{target} is a file of the data set itself", hint="name another folder")
