"""Compare the label maps of a run with those of the reference, image by image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import ArtifactError

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.sink import ImageResult, Notes, RunContext

__all__ = ["Agreement", "CompareSink", "DifferingImage"]


@dataclass(frozen=True)
class DifferingImage:
    """An image whose label maps differ."""

    index: int
    name: str
    differing: int
    """Pixels that differ."""
    pixels: int

    @property
    def share(self) -> float:
        """The share of its pixels that differ."""
        return self.differing / self.pixels

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """How many pixels of a whole data set have the same label as the reference's."""

    pixels: int
    differing: int
    scored_pixels: int
    """Pixels whose mask is not ``ignore_index``."""
    scored_differing: int
    images_differing: int
    """Images with at least one differing pixel."""

    @property
    def share(self) -> float:
        """The share of all pixels with the same label."""
        return 1 - self.differing / self.pixels

    @property
    def differing_share(self) -> float:
        """The share of all pixels with another label."""
        return self.differing / self.pixels

    @property
    def scored_share(self) -> float | None:
        """The share of the scored pixels with the same label; ``None``: no pixel is scored."""
        return 1 - self.scored_differing / self.scored_pixels if self.scored_pixels else None

    def to_dict(self) -> dict[str, Any]:
        """JSON types: the counts."""
        return asdict(self)


class CompareSink:
    """Counts the pixels whose label is not the reference's, and keeps the images that differ most.

    Args:
        reference: The label maps of the reference, as :class:`segplug.runtime.raw.RawSink` wrote them.
        keep: How many images to keep.
    """

    needs_image = False
    needs_mask = True
    needs_confidence = False

    def __init__(self, reference: Path, *, keep: int) -> None:
        self._reference = reference
        self._keep = keep
        self._counts: dict[int, Notes] = {}
        self._worst: list[DifferingImage] = []
        self._labels: dict[int, npt.NDArray[Any]] = {}

    @property
    def key(self) -> str:
        return f"compare {self._reference.resolve()} {self._keep}"

    def open(self, run: RunContext) -> None:
        self._dataset = run.dataset
        self._spool = run.spool
        self._maps = np.load(self._reference)

    def consume(self, result: ImageResult) -> Notes:
        assert result.mask is not None
        differs = result.labels != self._maps[result.name]
        scored = result.mask != self._dataset.info.ignore_index
        notes = {
            "pixels": differs.size,
            "differing": int(np.count_nonzero(differs)),
            "scored": int(np.count_nonzero(scored)),
            "scored_differing": int(np.count_nonzero(differs & scored)),
        }
        kept = self._keep_if_worst(result.index, notes, result.labels)
        if kept and self._spool is not None:
            _save(self._label_file(self._spool, result.index), result.labels)
        self._counts[result.index] = notes
        return {**notes, "kept": kept}

    def _keep_if_worst(self, index: int, notes: Notes, labels: npt.NDArray[Any]) -> bool:
        """Keep an image if it is among the worst so far; the worst at the end were so all the time."""
        if not notes["differing"] or not self._keep:
            return False
        image = DifferingImage(index, self._dataset.name(index), notes["differing"], notes["pixels"])
        self._worst = sorted([*self._worst, image], key=lambda one: -one.share)[: self._keep]
        self._labels[index] = labels
        self._labels = {one.index: self._labels[one.index] for one in self._worst}
        return index in self._labels

    @staticmethod
    def _label_file(spool: Path, index: int) -> Path:
        return spool / f"differs-{index}.npy"

    def has(self, index: int, notes: Notes) -> bool:
        if not notes.get("kept"):
            return True  # the notes are everything that was kept
        return self._spool is not None and self._label_file(self._spool, index).is_file()

    def restore(self, index: int, notes: Notes) -> None:
        self._counts[index] = notes
        if notes["kept"] and self._spool is not None:
            self._keep_if_worst(index, notes, np.load(self._label_file(self._spool, index)))

    def close(self, *, finished: bool) -> None:
        self._maps.close()

    @property
    def agreement(self) -> Agreement:
        """Over all images of the finished run."""
        total = {
            name: sum(notes[name] for notes in self._counts.values())
            for name in ("pixels", "differing", "scored", "scored_differing")
        }
        return Agreement(
            pixels=total["pixels"],
            differing=total["differing"],
            scored_pixels=total["scored"],
            scored_differing=total["scored_differing"],
            images_differing=sum(bool(notes["differing"]) for notes in self._counts.values()),
        )

    @property
    def worst(self) -> tuple[DifferingImage, ...]:
        """The images that differ most, by the share of their pixels."""
        return tuple(self._worst)

    def labels(self, image: DifferingImage) -> npt.NDArray[Any]:
        """The backend's labels for one of :attr:`worst`, unsigned ``(H, W)``."""
        return self._labels[image.index]


def _save(path: Path, labels: npt.NDArray[Any]) -> None:
    try:
        np.save(path, labels)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
