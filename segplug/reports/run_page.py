"""The page of a run: scores, confusion, the worst and the best images, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segplug.reports.confusion_svg import MOST_DRAWN, confusion_figure
from segplug.reports.document import Bullets, Legend, Page, Part, Pictures, Prose, Section
from segplug.results import Table
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.legend import LegendEntry
    from segplug.reports.document import Picture
    from segplug.scores import Scores, Skipped

__all__ = ["RunFacts", "ShownImage", "run_page"]

_PAIRS = 12
"""How many of the most confused pairs are listed."""

_LEGEND = 40
"""With more labels, the legend has only those that occur."""


@dataclass(frozen=True)
class ShownImage:
    """An image on the page."""

    title: str
    pictures: tuple[Picture, ...]
    missing: str = ""
    """Why there are no pictures; empty: there are."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """All that the page says."""

    title: str
    entries: tuple[LegendEntry, ...]
    """The name and the colour of each of the N labels, or of the classes of bit masks."""
    images: int
    command: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What is known of the run."""
    model: Mapping[str, str] = field(default_factory=dict)
    """What is known of the model."""
    scores: Scores | None = None
    """``None``: there are no masks."""
    pairs: npt.NDArray[np.int64] | None = None
    """``(N + 1, N + 1)`` for N labels; see :attr:`segplug.reports.run_tally.Compared.pairs`. ``None``: there
    are no masks, or they are bit masks."""
    pixels: npt.NDArray[np.int64] | None = None
    """``(N + 1,)``: of each predicted label, without masks; of bit masks ``(N + 2,)``, with the pixels of no
    class before the unknown ones."""
    all_pixels: int | None = None
    """Of bit masks, all pixels that are counted: one may have several classes. ``None``: each has one."""
    worst: tuple[ShownImage, ...] = ()
    best: tuple[ShownImage, ...] = ()
    examples: tuple[ShownImage, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()


def run_page(facts: RunFacts) -> Page:
    """The page."""
    return Page(
        facts.title,
        lead=_lead(facts),
        command=facts.command,
        sections=tuple(_sections(facts)),
    )


def _lead(facts: RunFacts) -> str:
    if facts.scores is None:
        number = counted(facts.images, "image")
        return f"{number} without masks: the page has the share of each class, and no scores."
    found = {name: value for name, value in facts.scores.metrics.items() if _is_summary(name)}
    accuracy = {name: found.pop(name) for name in ("aAcc",) if name in found}
    summary = ", ".join(f"{name} {value:.2%}" for name, value in (found | accuracy).items())
    return f"{counted(facts.images, 'image')}: {summary}."


def _is_summary(name: str) -> bool:
    """Whether a metric is one of all classes and all parts: ``mIoU``, and not ``IoU.road`` or ``0_mIoU``."""
    return "." not in name and not name[0].isdigit()


def _sections(facts: RunFacts) -> Iterator[Section]:
    names = [entry.name for entry in facts.entries]
    if facts.warnings:
        yield Section("Before you trust the numbers", (Bullets(facts.warnings),))
    if facts.scores is not None and facts.all_pixels is not None:
        yield Section("Classes", tuple(_scores_of_bits(facts.scores, facts.all_pixels)))
    elif facts.scores is not None and facts.pairs is not None:
        yield Section("Classes", tuple(_scores(facts.scores, facts.pairs)))
        yield Section("Which classes are confused", tuple(_confusion(names, facts.pairs)))
    elif facts.pixels is not None:
        yield Section("Classes", tuple(_shares(names, facts.pixels, facts.all_pixels)))
    legend: tuple[Part, ...] = (Legend(_legend(facts)),)
    for title, text, images in (
        ("Worst images", "The images with the lowest mIoU, the lowest first.", facts.worst),
        ("Best images", "The images with the highest mIoU, the highest first.", facts.best),
        ("Images", "Evenly spread over the data set.", facts.examples),
    ):
        if images:
            yield Section(title, (Prose(text), *legend, *_images(images)))
            legend = ()  # once on the page: it may be long
    for title, rows in (("The run", facts.settings), ("The model", facts.model)):
        yield Section(title, (Table("", ("what", "value"), tuple(rows.items())),))
    if facts.skipped:
        skipped = tuple((item.name, item.reason) for item in facts.skipped)
        yield Section("Images that were left out", (Table("", ("image", "why"), skipped),))


def _scores(scores: Scores, pairs: npt.NDArray[np.int64]) -> Iterator[Part]:
    total = max(int(pairs.sum()), 1)
    columns = ("class", *scores.per_class)
    shares: list[tuple[float, ...]] = []
    if len(scores.classes) > 1:
        columns += ("share of the masks", "share of the predictions")
        shares = [tuple(pairs.sum(axis=axis)[:-1] / total) for axis in (1, 0)]
    values = zip(scores.classes, *scores.per_class.values(), *shares, strict=True)
    yield Table("", columns, tuple((name, *map(float, numbers)) for name, *numbers in values))
    for number, part in enumerate(scores.parts):
        yield _of_part(scores, number, part)
    unknown = int(pairs[:, -1].sum())
    if unknown:
        yield Prose(f"{unknown / total:.2%} of the pixels have no predicted class: they count as wrong.")


def _scores_of_bits(scores: Scores, pixels: int) -> Iterator[Part]:
    columns = ("class", *scores.per_class, "share of the masks", "share of the predictions")
    shares = [
        (counts / max(pixels, 1)).tolist() for counts in (scores.counts.label, scores.counts.prediction)
    ]
    values = zip(scores.classes, *scores.per_class.values(), *shares, strict=True)
    yield Table("", columns, tuple((name, *map(float, numbers)) for name, *numbers in values))
    for number, part in enumerate(scores.parts):
        yield _of_part(scores, number, part)
    yield Prose(
        "A pixel may have several classes, or none, and each class is scored alone: there is no aAcc and no "
        "confusion matrix, and shares may add up to more than 100 %."
    )


def _of_part(scores: Scores, number: int, part: str) -> Table:
    prefix = f"{number}_"
    row = {
        name.removeprefix(prefix): value
        for name, value in scores.metrics.items()
        if name.startswith(prefix) and "." not in name
    }
    return Table(part, tuple(row), (tuple(row.values()),))


def _confusion(names: Sequence[str], pairs: npt.NDArray[np.int64]) -> Iterator[Part]:
    if len(names) <= MOST_DRAWN:
        yield confusion_figure(names, pairs[:-1])
    else:
        yield Prose(f"A matrix of {len(names)} classes is too large to draw.")
    wrong = pairs[:-1, :-1].copy()
    np.fill_diagonal(wrong, 0)
    errors, labelled = max(int(wrong.sum()), 1), pairs[:-1].sum(axis=1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    rows = tuple(
        (
            names[row],
            names[column],
            int(wrong[row, column]),
            float(wrong[row, column] / labelled[row]),
            float(wrong[row, column] / errors),
        )
        for row, column in places
        if wrong[row, column]
    )
    if rows:
        columns = ("true class", "predicted as", "pixels", "share of the class", "share of all errors")
        yield Table("The most confused pairs", columns, rows)


def _shares(names: Sequence[str], pixels: npt.NDArray[np.int64], all_pixels: int | None) -> Iterator[Part]:
    several = all_pixels is not None
    total = max(int(pixels.sum()) if all_pixels is None else all_pixels, 1)
    names = [*names, "no class"] if several else names
    rows = [(name, int(count), float(count / total)) for name, count in zip(names, pixels, strict=False)]
    if pixels[-1]:
        rows.append(("unknown", int(pixels[-1]), float(pixels[-1] / total)))
    rows.sort(key=lambda row: -row[1])
    yield Table("", ("class", "pixels", "share of all images"), tuple(rows))
    if several:
        yield Prose("A pixel may have several classes, or none: shares may add up to more than 100 %.")


def _legend(facts: RunFacts) -> tuple[LegendEntry, ...]:
    if len(facts.entries) <= _LEGEND:
        return facts.entries
    pixels = facts.pixels if facts.pairs is None else facts.pairs.sum(axis=0) + facts.pairs.sum(axis=1)
    return tuple(entry for entry in facts.entries if pixels is None or pixels[entry.label])


def _images(images: Sequence[ShownImage]) -> Iterator[Part]:
    for image in images:
        yield Prose(image.title + (f" ({image.missing})" if image.missing else ""))
        if image.pictures:
            yield Pictures(image.pictures, are_one_row=len(image.pictures) == 4)
