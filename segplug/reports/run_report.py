"""The sink that writes the report of a run: one page with scores, confusion, worst and best images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import SegplugError, UsageError
from segplug.files import ensure_free, write_bytes, write_text
from segplug.legend import legend_entries
from segplug.limits import MOST_REPORT_IMAGES
from segplug.progress import Recorder
from segplug.regular_files import read_regular
from segplug.reports.document import render
from segplug.reports.image_panels import image_pictures
from segplug.reports.run_page import RunFacts, ShownImage, run_page
from segplug.reports.run_tally import Compared, ComparedBits, Predicted, PredictedBits, Ranked
from segplug.runtime.drawing import Drawer, Part, PictureSettings
from segplug.runtime.libraries import opencv
from segplug.runtime.score import check_metrics, score
from segplug.runtime.sinks import require_same_classes
from segplug.sink import ImageResult, Notes, RunContext

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ReportSink"]

_COMPARED: tuple[Part, ...] = ("image", "truth", "prediction", "difference")
_PREDICTED: tuple[Part, ...] = ("image", "prediction")

_MOST_BYTES = 1 << 30
"""Of a label map in the journal's folder."""


class ReportSink:
    """Writes one HTML page about a run.

    The page has the scores of each class, the confusion matrix, and the images with the lowest and the
    highest mIoU, each as image, truth, prediction and difference. Of a data set without masks it has the
    share of each class, and images from its whole length. It fetches nothing. While the run goes on, the
    pixels of each pair of classes and the label maps of the images to show are kept, and nothing else.

    Args:
        path: The file, ending in ``.html``.
        metrics: Some of ``mIoU``, ``mDice``, ``mFscore``.
        nan_to_num: The value for absent classes; ``None``: the data set's, which is NaN if it has none.
        beta: Weight of recall in ``mFscore``; ``None``: the data set's.
        images: How many images the page shows: three quarters the worst, the rest the best.
        pictures: Opacity, channels and palette of the images; which parts are shown follows from the data
            set. ``None``: the usual ones.
        settings: What the page says about the run besides what it knows itself, by name.
        command: The command that made it, for the foot.
        force: Replace the file if it exists.

    Raises:
        UsageError: one of them is wrong, or the file exists and ``force`` is not set.
    """

    needs_image = False
    needs_mask = True
    needs_confidence = False

    def __init__(
        self,
        path: Path,
        *,
        metrics: Sequence[str] = ("mIoU",),
        nan_to_num: float | None = None,
        beta: float | None = None,
        images: int = 16,
        pictures: PictureSettings | None = None,
        settings: Mapping[str, str] | None = None,
        command: str = "",
        force: bool = False,
    ) -> None:
        if not 0 <= images <= MOST_REPORT_IMAGES:
            raise UsageError(f"a report shows 0 to {MOST_REPORT_IMAGES} images, not {images}")
        if path.suffix.lower() not in (".html", ".htm"):
            # Images, masks and weights are not known here: ``force`` must not replace one of them.
            raise UsageError(f"the report {path} does not end in .html", hint="name a page to write")
        ensure_free(path, force=force)
        self._path, self._force = path, force
        self._metrics = check_metrics(metrics)
        self._nan_to_num, self._beta = nan_to_num, beta
        self._images = images
        self._pictures = pictures or PictureSettings()
        self._settings = dict(settings or {})
        self._command = command

    @property
    def key(self) -> str:
        # The notes hold all counts: what the page says of them may differ in a resumed run.
        return f"report {self._path.resolve()} {self._images}"

    def open(self, run: RunContext) -> None:
        info = run.dataset.info
        self._run = run
        self._started = time.perf_counter()
        self._done = self._resumed = 0
        self._maps = _LabelMaps(run.spool)
        self._tally: Compared | ComparedBits | Predicted
        images, multilabel = len(run.dataset), run.meta.multilabel
        if info.has_masks:
            require_same_classes(run)
            best = self._images // 4
            compared = ComparedBits if multilabel else Compared
            self._tally = compared(info, len(run.classes), images, worst=self._images - best, best=best)
        elif multilabel:
            self._tally = PredictedBits(run.meta.num_classes, images, self._images)
        else:
            self._tally = Predicted(run.meta.num_labels or len(run.classes), images, self._images)
        self._parts: tuple[Part, ...] = _COMPARED if info.has_masks else _PREDICTED
        self._drawer = Drawer(replace(self._pictures, parts=self._parts), run)

    def consume(self, result: ImageResult) -> Notes:
        notes = self._tally.count(result)
        if self._add(result.index, notes):
            self._maps.keep(result.index, result.labels)
        return notes

    def has(self, index: int, notes: Notes) -> bool:
        if not self._tally.are_notes(notes):
            return False
        is_shown = isinstance(self._tally, Predicted) and index in self._tally.shown
        return not is_shown or self._maps.get(index) is not None

    def restore(self, index: int, notes: Notes) -> None:
        self._resumed += 1
        self._add(index, notes)

    def _add(self, index: int, notes: Notes) -> bool:
        """Add the counts of an image; whether the page shows it, as far as is known by now."""
        self._done += 1
        choice = self._tally.add(index, notes)
        for dropped in choice.dropped:
            self._maps.drop(dropped)
        return choice.kept

    def close(self, *, finished: bool) -> None:
        if finished:
            with self._run.reporter.progress(f"writing {self._path.name}", None):
                write_text(self._path, render(run_page(self._facts())), force=self._force)

    def _facts(self) -> RunFacts:
        run, tally = self._run, self._tally
        labels = tally.labels
        entries = legend_entries(run.label_names, self._drawer.colours)
        facts = RunFacts(
            title=f"{run.meta.name} on {run.dataset.info.name}",
            entries=entries[:labels],
            images=self._done,
            command=self._command,
            settings=self._table(),
            model={name: "\n".join(lines) for name, lines in run.meta.public().facts()},
            skipped=tuple(run.skipped),
            warnings=tuple(run.reporter.warnings) if isinstance(run.reporter, Recorder) else (),
        )
        if isinstance(tally, (ComparedBits, PredictedBits)):
            facts = replace(facts, all_pixels=tally.all)
        if isinstance(tally, Predicted):
            shown = [Ranked(0, index) for index in tally.shown]
            return replace(facts, pixels=tally.pixels, examples=self._images_of(shown, ranked=False))
        return replace(
            facts,
            pairs=tally.pairs if isinstance(tally, Compared) else None,
            scores=score(
                tally.parts,
                classes=run.classes,
                images=self._done,
                metrics=self._metrics,
                nan_to_num=run.dataset.info.nan_to_num if self._nan_to_num is None else self._nan_to_num,
                beta=run.dataset.info.beta if self._beta is None else self._beta,
                multilabel=run.meta.multilabel,
            ),
            worst=self._images_of(tally.worst),
            best=self._images_of(tally.best),
        )

    def _table(self) -> dict[str, str]:
        """What the page says about the run."""
        info = self._run.dataset.info
        seconds = time.perf_counter() - self._started
        resumed = f", {self._resumed} of them from the interrupted run" if self._resumed else ""
        rows = {
            "data set": info.name,
            "images": f"{self._done:,}{resumed}",
            "time": f"{seconds:.1f} s, {(self._done - self._resumed) / max(seconds, 1e-9):.1f} images/s",
        }
        return {name: value for name, value in (rows | self._settings).items() if value}

    def _images_of(self, images: Iterable[Ranked], *, ranked: bool = True) -> tuple[ShownImage, ...]:
        return tuple(self._image(image, ranked) for image in images)

    def _image(self, image: Ranked, ranked: bool) -> ShownImage:
        name = self._run.dataset.name(image.index)
        title = f"{name}: mIoU {image.score:.2%}" if ranked else name
        labels = self._maps.get(image.index)
        if labels is None:
            return ShownImage(title, (), "its label map of the interrupted run is gone")
        try:
            pictures = image_pictures(image.index, labels, self._parts, self._drawer, self._run)
        except SegplugError as error:
            return ShownImage(title, (), str(error))
        return ShownImage(title, pictures)


class _LabelMaps:
    """Keeps the label maps of the images to show: in the journal's folder if the run can be resumed.

    Args:
        folder: The journal's; ``None``: in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._contents: dict[int, bytes] = {}

    def keep(self, index: int, labels: npt.NDArray[Any]) -> None:
        cv2 = opencv()
        _, encoded = cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if self._folder is None:
            self._contents[index] = bytes(encoded)
        else:
            write_bytes(self._file(self._folder, index), bytes(encoded))

    def drop(self, index: int) -> None:
        self._contents.pop(index, None)
        if self._folder is not None:
            self._file(self._folder, index).unlink(missing_ok=True)

    def get(self, index: int) -> npt.NDArray[Any] | None:
        """The label map; ``None``: it is not there."""
        content = self._contents.get(index)
        if self._folder is not None:
            try:
                content = read_regular(self._file(self._folder, index), most_bytes=_MOST_BYTES)
            except OSError:
                return None
        if content is None:
            return None
        cv2 = opencv()
        labels: npt.NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        return labels

    def _file(self, folder: Path, index: int) -> Path:
        return folder / f"report-{index}.png"
