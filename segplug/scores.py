"""The results of a run on a data set: pixel counts, scores, and a report. Plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from segplug.notebook import Facts, facts_html
from segplug.text import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.calls import Call

__all__ = ["Counts", "Nonfinite", "RunReport", "Scores", "Skipped", "Stretched"]


@dataclass(frozen=True)
class Counts:
    """Pixel counts of each class, uint64 ``(K,)`` each, without ignored pixels. They can be added."""

    intersect: npt.NDArray[np.uint64]
    """Predicted as the class and labelled as the class."""
    prediction: npt.NDArray[np.uint64]
    """Predicted as the class."""
    label: npt.NDArray[np.uint64]
    """Labelled as the class."""

    @classmethod
    def zeros(cls, num_classes: int) -> Counts:
        """Counts of zero."""
        import numpy as np

        return cls(*(np.zeros(num_classes, np.uint64) for _ in range(3)))

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.intersect + other.intersect,
            self.prediction + other.prediction,
            self.label + other.label,
        )


@dataclass(frozen=True)
class Scores:
    """The scores of a model on a data set. Fractions, not percent, not rounded; NaN if not defined.

    For data sets whose parts are scored separately, the metrics of a part are named ``0_mIoU``,
    ``1_IoU.road``, ..., and the names without a number are those of all pixels together.
    """

    metrics: Mapping[str, float]
    """Name to value: ``aAcc``, ``mIoU``, ``IoU.road``, ... Without ``aAcc`` if a pixel may have several
    classes: ``Acc`` of a class is then the share of its pixels that have it in the prediction."""
    classes: tuple[str, ...]
    per_class: Mapping[str, tuple[float, ...]]
    """Metric (``IoU``, ``Acc``, ...) to one value for each class."""
    counts: Counts
    images: int
    parts: tuple[str, ...] = field(default=())
    """The parts' names, in the order of their numbers."""

    def to_dict(self) -> dict[str, Any]:
        """JSON types; NaN becomes ``None``."""
        return {
            "metrics": {name: _json(value) for name, value in self.metrics.items()},
            "classes": list(self.classes),
            "per_class": {name: [_json(value) for value in row] for name, row in self.per_class.items()},
            "counts": {
                "intersect": self.counts.intersect.tolist(),
                "prediction": self.counts.prediction.tolist(),
                "label": self.counts.label.tolist(),
            },
            "images": self.images,
            "parts": list(self.parts),
        }


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Nonfinite:
    """An image with pixels whose scores are NaN or infinite."""

    name: str
    pixels: int
    """How many: their label is the data set's ignored one."""


@dataclass(frozen=True)
class Stretched:
    """Images that were stretched to the only size that the engine takes, and not resized as the model asks.

    Sizes are (height, width) in pixels.
    """

    size: tuple[int, int]
    """The size that the model's own preprocessing gives them."""
    to: tuple[int, int]
    """The engine's size."""
    images: int
    """How many."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The report of a run.

    Attributes:
        images: Images with a result, including those of an interrupted run that was resumed.
        resumed: How many of them the interrupted run had finished.
        skipped: The images that were left out, and why.
        scores: ``None``: nothing was scored.
        seconds: Time from reading the first image to closing the last sink.
        engine_seconds: Time in ``engine.run``.
        unknown_share: The share of pixels of this run's images, 0 to 1, whose labels were less probable than
            ``unknown_below``; ``None``: it was not given.
        views: How many views of each image were averaged; 0: no test-time augmentation.
        views_left_out: How many views the model's own pipeline averages and this run did not.
        nonfinite: The images with pixels whose scores are NaN or infinite; only where that is allowed.
        stretched: How many of this run's images were stretched to the engine's size, and from which sizes.
        approximations: What the model's framework does differently, one line each.
        warnings: What to know before trusting the result, one line each.
        call: The call that made it.
    """

    images: int
    seconds: float
    resumed: int = 0
    skipped: tuple[Skipped, ...] = ()
    scores: Scores | None = None
    engine_seconds: float = 0.0
    unknown_share: float | None = None
    views: int = 0
    views_left_out: int = 0
    nonfinite: tuple[Nonfinite, ...] = ()
    stretched: tuple[Stretched, ...] = ()
    approximations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    call: Call | None = None

    def __repr__(self) -> str:
        return f"<RunReport {', '.join(text for _, (text,) in self._facts())}>"

    def _repr_html_(self) -> str:
        facts = list(self._facts())
        if self.warnings:
            facts.append(("warnings", self.warnings))
        return facts_html("Run", tuple(facts))

    def _facts(self) -> Facts:
        found = {"images": counted(self.images, "image"), "rate": f"{self.images_per_second:.1f} images/s"}
        if self.skipped:
            found["skipped"] = f"{len(self.skipped)} skipped"
        if self.scores is not None:
            summary = {name: value for name, value in self.scores.metrics.items() if "." not in name}
            found["scores"] = ", ".join(f"{name} {value:.4f}" for name, value in summary.items())
        return tuple((what, (text,)) for what, text in found.items())

    @property
    def images_per_second(self) -> float:
        """The rate of this run, without the images of the run that it resumed."""
        return (self.images - self.resumed) / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "images": self.images,
            "resumed": self.resumed,
            "skipped": [{"name": item.name, "reason": item.reason} for item in self.skipped],
            "scores": self.scores.to_dict() if self.scores else None,
            "seconds": self.seconds,
            "engine_seconds": self.engine_seconds,
            "images_per_second": self.images_per_second,
            "unknown_share": self.unknown_share,
            "views": self.views,
            "views_left_out": self.views_left_out,
            "nonfinite": [{"name": item.name, "pixels": item.pixels} for item in self.nonfinite],
            "stretched": [
                {"size": list(item.size), "to": list(item.to), "images": item.images}
                for item in self.stretched
            ],
            "approximations": list(self.approximations),
            "warnings": list(self.warnings),
        }
