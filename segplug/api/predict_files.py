"""Predict files: painted images and label maps of images, painted videos of videos."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.api.predict import colours_of
from segplug.api.predict_inputs import GivenImages
from segplug.api.segmentation import LABELS_END, PAINTED_END, SavedFiles, Segmentation
from segplug.errors import UsageError
from segplug.files import OutputFolders, ensure_free, writing
from segplug.legend import LegendEntry, count_labels, legend_entries
from segplug.runtime.paint import Painter
from segplug.runtime.pictures import is_unchanged, state_note
from segplug.runtime.reading import given_image
from segplug.runtime.segment import Segmenter
from segplug.runtime.video import Camera, Frame, Video, VideoWriter
from segplug.runtime.view import Viewer
from segplug.sink import ImageResult, Notes, RunContext

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine
    from segplug.progress import Reporter
    from segplug.runtime.drawing import PictureSettings

__all__ = ["PredictedImage", "PredictedVideo", "PredictionSink", "ensure_targets", "predict_video"]

VIDEO_END = "_painted.mp4"


@dataclass(frozen=True)
class PredictedImage:
    """The result of one image file."""

    name: str
    size: tuple[int, int]
    """(height, width)."""
    legend: tuple[LegendEntry, ...]
    """The classes that occur, the largest first."""
    files: SavedFiles


@dataclass(frozen=True)
class PredictedVideo:
    """The result of one video."""

    name: str
    size: tuple[int, int]
    """(height, width)."""
    frames: int
    legend: tuple[LegendEntry, ...]
    """The classes that occur, with their pixels in all frames."""
    file: Path
    without_sound: bool
    """Whether the video has sound that was left out."""


def ensure_targets(folder: Path, targets: Sequence[PurePosixPath], ends: Sequence[str], force: bool) -> None:
    """Check, before any work is done, that results can be written.

    Raises:
        UsageError: one is there already, and ``force`` is not set, or it cannot be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="name another with --output")
    for target in targets:
        for end in ends:
            ensure_free(folder / f"{target}{end}", force=force)


class PredictionSink:
    """Writes the painted image and the label map of each image, and keeps the pixels of its labels.

    Args:
        folder: Where to; made if it is not there.
        pictures: How the results are shown. Of its parts only the prediction is.
        force: Replace older files.
    """

    needs_image = True
    needs_mask = False
    needs_confidence = False

    def __init__(self, folder: Path, pictures: PictureSettings, *, force: bool) -> None:
        self._folder = folder
        self._pictures = pictures
        self._force = force
        self._folders = OutputFolders()
        self._counts: dict[int, tuple[tuple[int, int], npt.NDArray[np.int64]]] = {}
        """The size of each image with a result, and the pixels of its labels: folders may be large."""
        self._total: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def key(self) -> str:
        return f"predictions {self._folder.resolve()} {self._pictures.key}"

    def __len__(self) -> int:
        """How many images have a result."""
        return len(self._counts)

    def __iter__(self) -> Iterator[PredictedImage]:
        """The images with a result, in their order."""
        for index in sorted(self._counts):
            size, counts = self._counts[index]
            legend = legend_entries(self._names, self._colours, counts, unknown=self._unknown)
            yield PredictedImage(self._images[index].name, size, legend, self._files(index))

    @property
    def legend(self) -> tuple[LegendEntry, ...]:
        """The classes that occur in any of the images, with their pixels in all."""
        return legend_entries(self._names, self._colours, self._total, unknown=self._unknown)

    def open(self, run: RunContext) -> None:
        assert isinstance(run.dataset, GivenImages)
        self._images = run.dataset.images
        self._view = Viewer(run.meta.decoding, self._pictures.bands, channels=run.meta.in_channels)
        self._names, self._unknown = run.label_names, run.ignored
        self._colours = run.colours(self._pictures.palette)
        self._folders.make(self._folder)

    def consume(self, result: ImageResult) -> Notes:
        assert result.image is not None
        target = self._images[result.index].target
        found = Segmentation(
            name=result.name,
            labels=result.labels,
            image=self._view(result.image)[:, :, ::-1],
            classes=self._names,
            colours=self._colours,
            unknown=self._unknown,
            opacity=self._pictures.opacity,
        )
        folder = self._folder / target.parent
        self._folders.make(folder)
        files = found.save(folder, name=target.name, legend=self._pictures.legend, force=self._force)
        counts = count_labels(result.labels)
        height, width = result.labels.shape
        self._add(result.index, (height, width), counts)
        return {
            "size": [height, width],
            "pixels": {str(label): int(counts[label]) for label in np.flatnonzero(counts)},
            **{kind: state_note(path) for kind, path in vars(files).items()},
        }

    def has(self, index: int, notes: Notes) -> bool:
        files = vars(self._files(index))
        return all(is_unchanged(path, notes.get(kind, {})) for kind, path in files.items()) and _is_whole(
            notes
        )

    def restore(self, index: int, notes: Notes) -> None:
        self._force = True  # what the interrupted run has begun is its own
        height, width = notes["size"]
        counts = np.zeros(1 + max(map(int, notes["pixels"])), np.int64)
        for label, pixels in notes["pixels"].items():
            counts[int(label)] = pixels
        self._add(index, (height, width), counts)

    def _files(self, index: int) -> SavedFiles:
        target = self._images[index].target
        return SavedFiles(*(self._folder / f"{target}{end}" for end in (PAINTED_END, LABELS_END)))

    def _add(self, index: int, size: tuple[int, int], counts: npt.NDArray[np.int64]) -> None:
        self._counts[index] = size, counts
        self._total = _added(self._total, counts)

    def close(self, *, finished: bool) -> None:
        if not finished:
            self._folders.remove_empty()


def _is_whole(notes: Notes) -> bool:
    """Whether the notes of an interrupted run are those of an image: the journal may have changed."""
    size, pixels = notes.get("size"), notes.get("pixels")
    if not (isinstance(size, list) and isinstance(pixels, dict) and pixels):
        return False
    return (
        len(size) == 2
        and all(_is_label(label) for label in pixels)
        and all(type(value) is int and 0 <= value < 1 << 40 for value in (*size, *pixels.values()))
        and sum(pixels.values()) == size[0] * size[1]
    )


def _is_label(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < 1 << 16


def predict_video(
    engine: Engine,
    source: Video | Camera,
    target: Path,
    pictures: PictureSettings,
    *,
    reporter: Reporter,
    force: bool = False,
    tta: bool | None = None,
    allow_nonfinite: bool = False,
) -> PredictedVideo:
    """Paint a video, frame by frame.

    Args:
        engine: The model.
        source: The frames; the caller closes it.
        target: The MP4 file to write.
        pictures: How it is painted: palette, opacity and bands.
        reporter: Gets warnings and progress.
        force: Replace the file if it is there.
        tta: Run the model's test-time augmentation; ``None``: if it is the model's default.
        allow_nonfinite: Go on if scores are NaN or infinite; see :class:`segplug.runtime.segment.Segmenter`.

    Raises:
        DatasetError: the video is damaged.
        NonfiniteError: scores are not finite, and that is not allowed.
        UsageError: the file is there already, and ``force`` is not set.
    """
    meta = engine.spec.meta
    colours = colours_of(meta, pictures.palette)
    segment = Segmenter(engine, reporter=reporter, tta=tta, allow_nonfinite=allow_nonfinite)
    view = Viewer(meta.decoding, pictures.bands, channels=meta.in_channels)
    paint = Painter(colours.of_labels, opacity=pictures.opacity, unpainted=colours.unpainted)
    total: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    frames, size = 0, (0, 0)

    with (
        writing(target, force=force) as temporary,
        contextlib.closing(VideoWriter(temporary, source)) as writer,
        _Behind() as behind,
        contextlib.closing(_ahead(source.parts())) as parts,
        reporter.progress(f"frames of {source.path.name}", source.frames) as progress,
    ):
        for part in parts:
            if not isinstance(part, Frame):
                behind(writer.packet, part)
                continue
            frames += 1
            pixels = given_image(part.pixels, meta.decoding)
            (found,) = segment([pixels], names=[f"{source.path.name}, frame {frames}"])
            if isinstance(found, Exception):
                raise found
            behind(_write, writer, part, view(pixels), found.labels, paint)
            total = _added(total, count_labels(found.labels))
            size = part.pixels.shape[:2]
            progress.advance()
        behind.finish()
        writer.finish()
    legend = legend_entries(meta.label_names, colours, total, unknown=segment.ignored)
    return PredictedVideo(source.path.name, size, frames, legend, target, writer.leaves_sound_out)


def _write(
    writer: VideoWriter,
    frame: Frame,
    shown: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    paint: Painter,
) -> None:
    painted = np.ascontiguousarray(paint(shown, labels)[:, :, ::-1])
    writer.picture(replace(frame, pixels=painted))


def _added(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum of two lists of counts, of which one may be shorter."""
    total = np.zeros(max(len(one), len(other)), np.int64)
    total[: len(one)] += one
    total[: len(other)] += other
    return total


def _ahead(items: Iterator[Any]) -> Generator[Any, None, None]:
    """The same items; a thread gets the next one while the caller works on one."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="segplug-frames") as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item


class _Behind:
    """A thread that does the caller's last piece of work while the caller does the next."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="segplug-video")
        self._last: Future[None] | None = None

    def __call__(self, work: Callable[..., None], *arguments: Any) -> None:
        """Wait for the last piece of work, and begin another; raises what the last one raised."""
        self.finish()
        self._last = self._pool.submit(work, *arguments)

    def finish(self) -> None:
        """Wait for the last piece of work."""
        if self._last is not None:
            self._last.result()

    def __enter__(self) -> _Behind:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)
