"""Compare the label maps of a run with those of the reference, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.runtime.results import ImageResult, Notes, RunContext

__all__ = ["Agreement", "CompareSink", "Worst"]


@dataclass(frozen=True)
class Worst:
    """An image whose label maps differ."""

    index: int
    name: str
    differing: int
    """Pixels."""
    pixels: int
    labels: npt.NDArray[Any]
    """What the backend gave, unsigned ``(H, W)``."""

    @property
    def share(self) -> float:
        """Of its pixels, those that differ."""
        return self.differing / self.pixels


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
    def scored_share(self) -> float | None:
        """Of the pixels that are scored, those with the same label; ``None``: there are none."""
        return 1 - self.scored_differing / self.scored_pixels if self.scored_pixels else None


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

    @property
    def key(self) -> str:
        return f"compare {self._reference.resolve()} {self._keep}"

    def open(self, run: RunContext) -> None:
        self._ignore = run.dataset.info.ignore_index
        self._maps = np.load(self._reference)

    def consume(self, result: ImageResult) -> Notes:
        assert result.mask is not None
        differs = result.labels != self._maps[result.name]
        scored = result.mask != self._ignore
        found = Worst(result.index, result.name, int(np.count_nonzero(differs)), differs.size, result.labels)
        notes = {
            "pixels": found.pixels,
            "differing": found.differing,
            "scored": int(np.count_nonzero(scored)),
            "scored_differing": int(np.count_nonzero(differs & scored)),
            "kept": self._is_among_worst(found),
        }
        self._counts[result.index] = notes
        return notes

    def _is_among_worst(self, found: Worst) -> bool:
        """Keep it if it is one of the worst so far: whoever is at the end, has been all along."""
        if not found.differing or not self._keep:
            return False
        self._worst = sorted([*self._worst, found], key=lambda item: -item.share)[: self._keep]
        return any(item is found for item in self._worst)

    def has(self, index: int, notes: Notes) -> bool:
        return not notes.get("kept")  # its label map was in memory only

    def restore(self, index: int, notes: Notes) -> None:
        self._counts[index] = notes

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
