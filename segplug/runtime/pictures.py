"""The sinks that write one picture for each image: painted images and label maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from segplug.commits import state_of
from segplug.errors import ArtifactError, UsageError
from segplug.files import OutputFolders, refuse_special, write_bytes
from segplug.palette import palette_key
from segplug.runtime.dataset_files import (
    input_files,
    refuse_dataset_file,
    refuse_searched_folder,
    relative_path,
)
from segplug.runtime.drawing import Drawer, PictureSettings
from segplug.runtime.indexed_png import indexed_png
from segplug.runtime.libraries import opencv, pillow
from segplug.sink import ImageResult, Notes, RunContext

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import Dataset

__all__ = [
    "ColourMapSink",
    "LabelMapSink",
    "PaintSink",
    "StemSink",
    "id_table",
    "is_unchanged",
    "label_map_files",
    "state_note",
]

_COLOURS = 256
"""Of a PNG's palette, at most."""

_PROBE = np.zeros((64, 64, 3), np.uint8)
"""Encoded to find out whether OpenCV writes colour images of a format."""


class PaintSink:
    """Writes each image, painted, under the same relative name into a folder.

    Args:
        folder: The output folder; made if it does not exist.
        pictures: What they show; ``None``: the prediction in the data set's colours, else the model's.
    """

    needs_image = True
    needs_confidence = False

    def __init__(self, folder: Path, pictures: PictureSettings | None = None) -> None:
        self._folder = folder
        self._settings = pictures or PictureSettings()
        self.needs_mask = self._settings.needs_mask
        self._folders = OutputFolders()

    @property
    def key(self) -> str:
        return f"paint {self._folder.resolve()} {self._settings.key}"

    def open(self, run: RunContext) -> None:
        self._dataset = run.dataset
        self._draw = Drawer(self._settings, run)
        refuse_searched_folder(self._folder, run.dataset)
        names = [relative_path(run.dataset.name(index)) for index in range(len(run.dataset))]
        written = {suffix for suffix in {name.suffix for name in names} if _encoded(suffix, _PROBE)}
        self._targets = [name if name.suffix in written else _as_png(name) for name in names]
        _refuse_clashes(self._targets, "painted images", hint="rename one of the images")
        self._taken = set(self._targets)
        _refuse_special(self._folder, self._targets)
        self._folders.make(self._folder)

    def consume(self, result: ImageResult) -> Notes:
        painted = self._draw(result)
        relative = self._targets[result.index]
        content = _encoded(relative.suffix, painted)
        if content is None:  # for example, it is too large for the format
            relative = _as_png(relative)
            content = _encoded(relative.suffix, painted)
        target = self._folder / relative
        if content is None:
            raise ArtifactError(f"cannot write {target}: OpenCV cannot encode the painted image")
        if relative != self._targets[result.index] and relative in self._taken:
            raise ArtifactError(
                f"cannot write {target}: another image has this name", hint="rename one of the images"
            )
        refuse_dataset_file(target, self._dataset, result.index)
        self._folders.make(target.parent)
        write_bytes(target, content)
        return {"file": str(relative), **state_note(target)}

    def has(self, index: int, notes: Notes) -> bool:
        return is_unchanged(self._folder / str(notes.get("file", "")), notes)

    def restore(self, index: int, notes: Notes) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        if not finished:
            self._folders.remove_empty()


def _refuse_special(folder: Path, targets: Iterable[PurePosixPath]) -> None:
    """Refuse a pipe or a device at the place of a result before the first image, not in the middle."""
    for target in targets:
        refuse_special(folder / target)


def state_note(file: Path) -> Notes:
    """The note from which :func:`is_unchanged` tells whether a result is still the one that was written."""
    return {"state": state_of(file)}


def is_unchanged(file: Path, notes: Notes) -> bool:
    """Whether the result of an interrupted run is there as it was written: not cut off, not another one."""
    state = state_of(file)
    return state is not None and notes.get("state") == list(state)


def _as_png(name: PurePosixPath) -> PurePosixPath:
    return name.with_name(name.name + ".png")


def _encoded(suffix: str, image: npt.NDArray[np.uint8]) -> bytes | None:
    """A colour image encoded in the format of ``suffix``, or ``None`` if OpenCV cannot do that."""
    cv2 = opencv()
    try:
        if not cv2.haveImageWriter("image" + suffix):
            return None
        done, content = cv2.imencode(suffix, image)
    except cv2.error:
        return None
    return bytes(content.tobytes()) if done else None


class StemSink:
    """Writes one file for each image: its stem and a suffix.

    Each part of a concatenated data set gets its own folder: ``0``, ``1``, ...

    Args:
        folder: The output folder; made if it does not exist.
        suffix: The suffix of the files.
    """

    needs_image = False
    needs_mask = False
    needs_confidence = False
    what: ClassVar[str]
    """What is written, in the plural, for messages."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix
        self._folders = OutputFolders()

    @property
    def key(self) -> str:
        return f"{self.what} {self._folder.resolve()} {self._suffix}"

    def open(self, run: RunContext) -> None:
        self._dataset = run.dataset
        refuse_searched_folder(self._folder, run.dataset)
        self._targets = label_map_files(run.dataset, self._suffix, self.what)
        _refuse_special(self._folder, self._targets)
        for folder in {target.parent for target in self._targets}:
            self._folders.make(self._folder / folder)

    def consume(self, result: ImageResult) -> Notes:
        target = self._folder / self._targets[result.index]
        refuse_dataset_file(target, self._dataset, result.index)
        self._folders.make(target.parent)
        write_bytes(target, self.encoded(result))
        return state_note(target)

    def encoded(self, result: ImageResult) -> bytes:
        """The content of one image's file."""
        raise NotImplementedError

    def has(self, index: int, notes: Notes) -> bool:
        return is_unchanged(self._folder / self._targets[index], notes)

    def restore(self, index: int, notes: Notes) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        if not finished:
            self._folders.remove_empty()


class LabelMapSink(StemSink):
    """Writes each label map as ``<stem>.png`` or ``<stem>.tif``, in the format of the data set's server.

    If the data set has no such format, the labels are written as they are; a PNG of 8 bits has a palette to
    look at, of bit masks the mean colour of each set of classes. A TIFF keeps the georeference of its image,
    through rasterio.

    Args:
        folder: The output folder; made if it does not exist.
        suffix: ``.png`` or ``.tif``.
    """

    what = "label maps"

    def __init__(self, folder: Path, *, suffix: Literal[".png", ".tif"] = ".png") -> None:
        super().__init__(folder, suffix)

    def open(self, run: RunContext) -> None:
        form = run.dataset.info.label_format
        if run.meta.multilabel and form is not None and (form.ids or form.palette):
            raise UsageError(
                f"the format of label maps of {run.dataset.info.name} has one class for each pixel, and "
                f"{run.meta.name} may give a pixel several",
                hint="--out FILE.npz writes its bit masks",
            )
        self._palette = run.palette if form is None else form.palette
        ids = None if form is None else form.ids
        ignored = run.dataset.info.ignore_index
        self._ids = None if ids is None else id_table(ids, max(len(run.classes), ignored + 1))
        self._nodata = _nodata(run, self._ids)
        super().open(run)

    def encoded(self, result: ImageResult) -> bytes:
        ids = result.labels if self._ids is None else self._ids[result.labels]
        if self._suffix == ".png":
            return _png(ids, self._palette)
        from segplug.runtime.georeference import encode_label_tif

        source = next(iter(input_files(self._dataset, result.index, mask=False)), None)
        return encode_label_tif(ids, source=source, ignored=self._nodata)


class ColourMapSink(StemSink):
    """Writes each label map as ``<stem>.png`` with the colours as its palette; the values are the labels.

    Args:
        folder: The output folder; made if it does not exist.
        palette: A name or a file for :func:`segplug.palette.named_palette`; ``None``: the data set's colours,
            else the model's.

    Raises:
        UsageError: there is no such palette.
    """

    what = "coloured label maps"

    def __init__(self, folder: Path, *, palette: str | None = None) -> None:
        super().__init__(folder, ".png")
        self._palette = palette
        self._key = "" if palette is None else palette_key(palette)

    @property
    def key(self) -> str:
        return f"{super().key} {self._key}"

    def open(self, run: RunContext) -> None:
        self._colours = run.colours(self._palette).of_labels
        nodata = _nodata(run, None)
        self._unknown = _COLOURS - 1 if nodata is None else nodata
        if max(len(self._colours), self._unknown + 1) > _COLOURS:
            raise UsageError(
                f"coloured label maps are PNG of at most {_COLOURS} colours, and there are "
                f"{len(self._colours)} labels and the ignored label {self._unknown}",
                hint="--show-dir FOLDER --opacity 1 writes colours, --format-only FOLDER the labels",
            )
        super().open(run)

    def encoded(self, result: ImageResult) -> bytes:
        return indexed_png(result.labels, self._colours, unknown=self._unknown)


def _nodata(run: RunContext, ids: npt.NDArray[Any] | None) -> int | None:
    """The value of pixels without data in label maps; ``None``: a class has it, or the type does not."""
    try:
        ignored = run.ignored
    except UsageError:  # raised again for the first pixel that needs it
        return None
    if ids is None:
        return ignored
    return None if ids[ignored] in ids[: run.meta.num_labels] else int(ids[ignored])


def label_map_files(dataset: Dataset, suffix: str = ".png", what: str = "label maps") -> list[PurePosixPath]:
    """The file of each image's result, relative to the sink's folder: its stem and ``suffix``.

    Args:
        dataset: The data set.
        suffix: The suffix of the files.
        what: What they are, in the plural, for messages.

    Raises:
        UsageError: two images would share a file.
    """
    parts = dataset.info.parts
    folders = [str(number) for number, (_, length) in enumerate(parts) for _ in range(length)]
    targets = [
        PurePosixPath(folders[index] if len(parts) > 1 else "")
        / (PurePosixPath(dataset.name(index)).stem + suffix)
        for index in range(len(dataset))
    ]
    _refuse_clashes(targets, what, hint="run the folders one by one")
    return targets


def _refuse_clashes(targets: Sequence[PurePosixPath], called: str, *, hint: str) -> None:
    clashes = [str(target) for target, times in Counter(targets).items() if times > 1]
    if clashes:
        raise UsageError(
            f"{len(clashes)} {called} would be written twice, the first is {clashes[0]}: "
            "several images have this name",
            hint=hint,
        )


def id_table(ids: Mapping[int, int], num_classes: int) -> npt.NDArray[Any]:
    """The id to write for each label; labels that are no key of ``ids`` are written as they are."""
    size = 256 if max([num_classes - 1, *ids, *ids.values()]) < 256 else 65536
    table = np.arange(size, dtype=np.uint8 if size == 256 else np.uint16)
    for label, written in ids.items():
        # A negative id (the licence plate of Cityscapes) is written as a byte, as other tools do.
        table[label] = written & 0xFF if written < 0 else written
    return table


def _png(ids: npt.NDArray[Any], palette: tuple[tuple[int, int, int], ...] | None) -> bytes:
    import io

    Image = pillow()
    picture = Image.fromarray(ids.astype(np.uint8 if ids.dtype.itemsize == 1 else np.uint16))
    if palette and ids.dtype.itemsize == 1:
        picture = picture.convert("L")
        # Pillow writes as few bits as the colours need: a label without a colour would become another one.
        more = ((0, 0, 0),) * (int(ids.max(initial=0)) + 1 - len(palette))
        picture.putpalette([value for colour in (*palette[:256], *more) for value in colour])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
