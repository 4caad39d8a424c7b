"""Tables, data and notes of a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from segplug.results import Table
from segplug_analysis.confusion.matrix import Confusion, Normalize

__all__ = ["data_of", "notes_of", "tables_of"]

_ON_SCREEN = 12
"""A matrix of more classes is not shown on the screen."""


def data_of(confusion: Confusion, normalize: Normalize, top: int) -> dict[str, Any]:
    """The report's data: JSON types. Scores and shares are fractions."""
    return {
        "classes": list(confusion.classes),
        "images": confusion.images,
        "rows": "true",
        "columns": "predicted",
        "pixels": confusion.pixels.tolist(),
        "predicted_outside_of_classes_pixels": confusion.outside.tolist(),
        "not_predicted_pixels": confusion.missed.tolist(),
        "normalize": normalize,
        "normalized": None if normalize == "none" else confusion.normalized(normalize).tolist(),
        "scores": confusion.scores().to_dict(),
        "pairs": [asdict(pair) for pair in confusion.pairs(top)],
    }


def tables_of(confusion: Confusion, normalize: Normalize, top: int) -> tuple[Table, ...]:
    """The classes, the pairs, the matrix."""
    return _classes(confusion), _totals(confusion), _pairs(confusion, top), _matrix(confusion, normalize)


def _classes(confusion: Confusion) -> Table:
    counts, scores = confusion.counts, confusion.scores().per_class
    rows = zip(
        confusion.classes,
        counts.label.tolist(),
        counts.prediction.tolist(),
        scores["Acc"],
        scores["Precision"],
        scores["IoU"],
        strict=True,
    )
    columns = ("class", "true pixels", "predicted pixels", "Acc (recall)", "precision", "IoU")
    return Table("classes", columns, tuple(rows))


def _totals(confusion: Confusion) -> Table:
    metrics = confusion.scores().metrics
    shown = {name: metrics[name] for name in ("aAcc", "mIoU", "mAcc", "mPrecision")}
    return Table("total", ("images", *shown), ((confusion.images, *shown.values()),))


def _pairs(confusion: Confusion, top: int) -> Table:
    rows = tuple(
        (pair.truth, pair.predicted, pair.pixels, pair.share_of_truth, pair.share_of_errors)
        for pair in confusion.pairs(top)
    )
    columns = ("true", "predicted as", "pixels", "share of the true class", "share of all errors")
    return Table("most confused", columns, rows)


def _matrix(confusion: Confusion, normalize: Normalize) -> Table:
    shown = confusion.pixels if normalize == "none" else confusion.normalized(normalize)
    rows = tuple((name, *row) for name, row in zip(confusion.classes, shown.tolist(), strict=True))
    what = {
        "true": "shares of the true class",
        "prediction": "shares of the predicted class",
        "all": "shares of all pixels",
        "none": "pixels",
    }[normalize]
    return Table(
        f"confusion matrix, {what}",
        ("true / predicted", *confusion.classes),
        rows,
        only_csv=len(confusion.classes) > _ON_SCREEN,
    )


def notes_of(confusion: Confusion, ignore_index: int) -> tuple[str, ...]:
    """The notes that explain the numbers."""
    return tuple(_notes(confusion, ignore_index))


def _notes(confusion: Confusion, ignore_index: int) -> Iterator[str]:
    yield f"pixels with the mask value {ignore_index} are ignored"
    absent = [
        name for name, pixels in zip(confusion.classes, confusion.counts.label, strict=True) if not pixels
    ]
    if absent:
        yield f"{len(absent)} classes have no pixel in the masks: {', '.join(absent[:5])}" + (
            ", ..." if len(absent) > 5 else ""
        )
    outside = int(confusion.outside.sum())
    if outside:
        yield f"{outside} pixels have a mask value that is no class: they count as wrong, outside the matrix"
    missed = int(confusion.missed.sum())
    if missed:
        yield f"{missed} pixels are predicted as the ignored label: they count as missed, outside the matrix"
    if len(confusion.classes) > _ON_SCREEN:
        yield "the matrix itself is in the picture, in --json and in --csv"
