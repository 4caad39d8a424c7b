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

__all__ = ["Agreement", "CompareSink", "Worst"]


@dataclass(frozen=True)
class Worst:
    """An image whose label maps differ."""

    index: int
    name: str
    differing: int
    """Pixels."""
    pixels: int

    @property
    def share(self) -> float:
        """Of its pixels, those that differ."""
        return self.differing / self.pixels

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """Pixels of a whole data set."""

    pixels: int
    differing: int
    scored_pixels: int
    """Those whose mask says what they are: it holds no ``ignore_index`` there."""
    scored_differing: int
    images_differing: int
    """Images with one differing pixel or more."""

    @property
    def share(self) -> float:
        """Of all pixels, those with the same label."""
        return 1 - self.differing / self.pixels

    @property
    def differing_share(self) -> float:
        """Of all pixels, those with another label."""
        return self.differing / self.pixels

    @property
    def scored_share(self) -> float | None:
        """Of the pixels that are scored, those with the same label; ``None``: there are none."""
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

    def __init__(self, reference: Path, *, keep: int) -> None:
        self._reference = reference
        self._keep = keep
        self._counts: dict[int, Notes] = {}
        self._worst: list[Worst] = []
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
        kept = self._is_among_worst(result.index, notes, result.labels)
        if kept and self._spool is not None:
            _save(self._piece(self._spool, result.index), result.labels)
        self._counts[result.index] = notes
        return {**notes, "kept": kept}

    def _is_among_worst(self, index: int, notes: Notes, labels: npt.NDArray[Any]) -> bool:
        """Keep it if it is one of the worst so far: whoever is at the end, has been all along."""
        if not notes["differing"] or not self._keep:
            return False
        found = Worst(index, self._dataset.name(index), notes["differing"], notes["pixels"])
        self._worst = sorted([*self._worst, found], key=lambda item: -item.share)[: self._keep]
        self._labels[index] = labels
        self._labels = {item.index: self._labels[item.index] for item in self._worst}
        return index in self._labels

    @staticmethod
    def _piece(spool: Path, index: int) -> Path:
        return spool / f"differs-{index}.npy"

    def has(self, index: int, notes: Notes) -> bool:
        if not notes.get("kept"):
            return True  # the notes are all there is
        return self._spool is not None and self._piece(self._spool, index).is_file()

    def restore(self, index: int, notes: Notes) -> None:
        self._counts[index] = notes
        if notes["kept"] and self._spool is not None:
            self._is_among_worst(index, notes, np.load(self._piece(self._spool, index)))

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
    def worst(self) -> tuple[Worst, ...]:
        """The images that differ most, by the share of their pixels."""
        return tuple(self._worst)

    def labels(self, worst: Worst) -> npt.NDArray[Any]:
        """What the backend gave for one of :attr:`worst`, unsigned ``(H, W)``."""
        return self._labels[worst.index]


def _save(piece: Path, labels: npt.NDArray[Any]) -> None:
    try:
        np.save(piece, labels)
    except OSError as error:
        raise ArtifactError(f"cannot write {piece}: {error.strerror or error}") from error
