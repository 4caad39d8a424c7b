"""Compare the output of an artifact with that of its reference: compute statistics, then apply thresholds.

Labels need not be equal everywhere: where two classes are nearly equal in the reference, rounding alone
decides. So logits are compared where both sides give them, and labels are compared without near-ties: pixels
whose margin in the reference is so small that an allowed difference can change the label
(:mod:`segplug.verification.rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.comparison import Comparison, Thresholds
from segplug.errors import UsageError
from segplug.verification.rules import EachAbove, Largest, Rule
from segplug.verification.stability import find_unstable

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["THRESHOLDS", "Pair", "compare", "thresholds_for"]


THRESHOLDS: Mapping[str, Thresholds] = {
    # float32 on both sides: the same arithmetic in another order. Rounding of sums of some thousand
    # products is about 1e-6 of the range, of a deep network at most some 1e-4; a frozen size, a
    # wrong padding or another interpolation is above 1e-2. 1e-3 is far from both.
    "fp32": Thresholds(logits=1e-3, firm_agreement=1.0, miou=0.9999),
    # 11 bits of mantissa: each rounding is 5e-4 of a value, and those of some ten layers add up.
    "fp16": Thresholds(logits=2e-2, firm_agreement=0.9995, miou=0.995),
    # 8 bits of mantissa: eight times the rounding of fp16.
    "bf16": Thresholds(logits=1e-1, firm_agreement=0.995, miou=0.97),
    # 256 steps for each tensor: single logits change much, so only the label thresholds are strict.
    "int8": Thresholds(logits=3e-1, firm_agreement=0.98, miou=0.90),
}


def thresholds_for(precision: str) -> Thresholds:
    """The thresholds of a precision; raises :class:`UsageError` for one that has none."""
    if precision not in THRESHOLDS:
        raise UsageError(f"no thresholds for precision '{precision}'", hint=", ".join(THRESHOLDS))
    return THRESHOLDS[precision]


_BAND = 1 << 20
"""How many logits are compared at a time."""


@dataclass(frozen=True)
class Pair:
    """The outputs of both sides for one input."""

    name: str
    """The image, and the size of the input."""
    reference: npt.NDArray[np.float32]
    """Scores ``(C, H, W)``, logits or probabilities."""
    candidate: npt.NDArray[Any]
    """Scores ``(C, H, W)``, or labels ``(H, W)``: bit masks where each class is decided alone."""
    refusal: str | None = None
    """Why the candidate did not run this input; ``candidate`` is ignored then."""
    perturbed: Callable[[], Iterator[npt.NDArray[np.float32]]] | None = None
    """Runs the reference on perturbed inputs (:func:`~segplug.verification.stability.perturbed_runs`)."""


@dataclass
class _Totals:
    inputs: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    logits_compared: bool = True
    pixels: int = 0
    equal: int = 0
    firm: int = 0
    firm_equal: int = 0
    unstable: int = 0
    difference_sum: float = 0.0
    difference_count: int = 0
    max_difference: float = 0.0
    relative: float = 0.0
    worst_score: float = -1.0
    worst_input: str = ""
    worst_pixel: tuple[int, int] | None = None
    both: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """Firm pixels of each class on both sides; the last of :class:`Largest` are those of no class."""
    either: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """Those on either side."""


def compare(
    pairs: Iterable[Pair],
    *,
    precision: str = "fp32",
    thresholds: Thresholds | None = None,
    threshold: float | None = None,
    logits: bool = True,
    multilabel: bool = False,
    reference: str = "PyTorch",
) -> Comparison:
    """Compare the outputs of both sides, one input at a time: memory does not grow with their number.

    Args:
        pairs: At least one.
        precision: The precision of the candidate; chooses the thresholds unless they are given.
        thresholds: Thresholds to use instead.
        threshold: For scores of one channel: foreground where the probability is above it; default: 0.5.
            With ``multilabel`` it is that of each class.
        logits: Whether the scores are logits, not probabilities.
        multilabel: Whether each class is decided alone (:attr:`segplug.model.ModelMeta.multilabel`).
        reference: The name of the reference in messages.

    Raises:
        UsageError: there is nothing to compare, or the shapes differ.
    """
    limits = thresholds or thresholds_for(precision)
    totals = _Totals()
    cut = _logit(threshold) if logits else _default(threshold)
    rule: Rule = EachAbove(cut) if multilabel else Largest(cut)
    for pair in pairs:
        if (refusal := _incomparable(pair)) is not None:
            totals.inputs.append(pair.name)
            totals.refusals.append(refusal)
            continue
        _check_shapes(pair)
        _add(pair, totals, limits, rule)
    if not totals.inputs:
        raise UsageError("there is nothing to compare")

    nothing = 0.0 if totals.pixels == 0 else 1.0  # equal nowhere, if no pixel could be compared
    firm_agreement = totals.firm_equal / totals.firm if totals.firm else nothing
    miou = _mean_iou(totals) if totals.pixels else nothing
    pixels = max(totals.pixels, 1)
    measured = _failures(limits, totals.relative, firm_agreement, miou) if totals.pixels else ()
    failures = (*totals.refusals, *measured)
    return Comparison(
        passed=not failures,
        failures=failures,
        precision=precision,
        thresholds=limits,
        thresholds_by_hand=thresholds is not None,
        inputs=tuple(totals.inputs),
        pixels=totals.pixels,
        logits_compared=totals.logits_compared,
        max_logit_difference=totals.max_difference,
        mean_logit_difference=totals.difference_sum / max(totals.difference_count, 1),
        relative_difference=totals.relative,
        label_agreement=totals.equal / pixels,
        firm_agreement=firm_agreement,
        near_ties=(totals.pixels - totals.firm) / pixels,
        unstable=totals.unstable / max(totals.pixels + totals.unstable, 1),
        miou=miou,
        worst_input=totals.worst_input,
        worst_pixel=totals.worst_pixel,
        reference=reference,
    )


def _incomparable(pair: Pair) -> str | None:
    """Why the two sides cannot be compared, a failure with any thresholds; ``None``: they can."""
    if pair.refusal is not None:
        return f"the artifact does not run {pair.name}: {pair.refusal}"
    if count := _nonfinite(pair.reference):
        both = ""
        if pair.candidate.ndim == 3 and (own := _nonfinite(pair.candidate)):
            both = f", the artifact in {own}: that is no agreement"
        return (
            f"the model itself gives infinite or undefined logits for {pair.name}, in {count} of its "
            f"{pair.reference[0].size} pixels{both}"
        )
    return None


def _nonfinite(scores: npt.NDArray[Any]) -> int:
    """How many pixels have a score that is NaN or infinite."""
    undefined = np.zeros(scores.shape[1:], np.bool_)
    for plane in scores:
        undefined |= ~np.isfinite(plane)
    return int(undefined.sum())


def _check_shapes(pair: Pair) -> None:
    if pair.candidate.shape not in (pair.reference.shape, pair.reference.shape[1:]):
        raise UsageError(
            f"{pair.name}: the artifact gives {pair.candidate.shape}, the model {pair.reference.shape}"
        )


@dataclass(frozen=True)
class _Band:
    """Some rows of one input, compared pixel by pixel."""

    rows: slice
    expected: npt.NDArray[Any]
    """The labels of the reference, in the form of a :class:`Rule`."""
    actual: npt.NDArray[Any]
    """Those of the candidate."""
    equal: npt.NDArray[np.bool_]
    firm: npt.NDArray[np.bool_]
    """Pixels that are no near-ties."""
    difference: npt.NDArray[np.float32] | None
    """``(C, rows, W)``, where both sides give logits."""

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Different labels that no allowed difference can cause."""
        wrong: npt.NDArray[np.bool_] = self.firm & ~self.equal
        return wrong

    @property
    def distance(self) -> npt.NDArray[np.float32]:
        """The largest difference over the channels; for labels 1 where they are wrong."""
        if self.difference is None:
            return self.wrong.astype(np.float32)
        largest: npt.NDArray[np.float32] = self.difference.max(axis=0)
        return largest


def _add(pair: Pair, totals: _Totals, limits: Thresholds, rule: Rule) -> None:
    """Add the statistics of one input, without the unstable pixels of the reference."""
    span = max(float(pair.reference.max()) - float(pair.reference.min()), float(np.finfo(np.float32).tiny))
    allowed = limits.logits * span
    stable = _stable(pair, allowed, rule, exact=limits.firm_agreement == 1.0)
    totals.inputs.append(pair.name)
    totals.logits_compared &= pair.candidate.ndim == 3
    totals.unstable += int((~stable).sum())
    wrong, worst, place = 0, 0.0, (0, 0)
    for band in _bands(pair, allowed, rule):
        kept = stable[band.rows]
        equal, firm = band.equal & kept, band.firm & kept
        totals.pixels += int(kept.sum())
        totals.equal += int(equal.sum())
        totals.firm += int(firm.sum())
        totals.firm_equal += int((equal & firm).sum())
        both, either = rule.overlap(band.expected, band.actual, firm, pair.reference.shape[0])
        totals.both, totals.either = totals.both + both, totals.either + either
        wrong += int((band.wrong & kept).sum())
        if band.difference is not None:
            totals.difference_sum += float(band.difference.sum(axis=0, dtype=np.float64)[kept].sum())
            totals.difference_count += pair.reference.shape[0] * int(kept.sum())
        distance = np.where(kept, band.distance, 0)
        if (peak := float(distance.max())) > worst:
            row, column = np.unravel_index(int(distance.argmax()), distance.shape)
            worst, place = peak, (band.rows.start + int(row), int(column))
    if pair.candidate.ndim == 3:
        totals.max_difference = max(totals.max_difference, worst)
        totals.relative = max(totals.relative, worst / span)
    score = worst / span if pair.candidate.ndim == 3 else float(wrong)
    if score > totals.worst_score:
        totals.worst_score, totals.worst_input = score, pair.name
        totals.worst_pixel = place if score > 0 else None


def _stable(pair: Pair, allowed: float, rule: Rule, *, exact: bool) -> npt.NDArray[np.bool_]:
    """Which pixels ``(H, W)`` to compare: all, without those that differ by too much and are unstable."""
    stable = np.ones(pair.reference.shape[1:], dtype=bool)
    if pair.perturbed is None:
        return stable
    distances, wrong = [], []
    for band in _bands(pair, allowed, rule):
        distances.append(band.distance)
        wrong.append(band.wrong)
    # If the thresholds allow some wrong labels, a wrong label is no reason to run the reference again.
    suspects = np.concatenate(wrong) & exact
    distance = np.concatenate(distances)
    if pair.candidate.ndim == 3:
        suspects |= distance > allowed
    if not suspects.any():
        return stable
    unstable = find_unstable(pair.reference, pair.perturbed(), suspects, allowed)
    # An undefined logit is never a rounding error.
    return stable if unstable is None else ~unstable | ~np.isfinite(distance)


def _bands(pair: Pair, allowed: float, rule: Rule) -> Iterator[_Band]:
    """Compare in bands of rows: whole copies of many-class logits would be gigabytes."""
    channels, height, width = pair.reference.shape
    step = max(1, _BAND // (channels * width))
    for top in range(0, height, step):
        rows = slice(top, top + step)
        expected, margin = rule.decide(pair.reference[:, rows])
        # An allowed difference in each of two logits can change a margin of twice that.
        firm = margin > 2 * allowed
        if pair.candidate.ndim == 2:
            actual = rule.read(pair.candidate[rows], expected)
            yield _Band(rows, expected, actual, rule.equal(expected, actual), firm, None)
            continue
        difference = np.abs(pair.reference[:, rows] - pair.candidate[:, rows])
        # An infinity or a NaN on one side is an infinite difference: comparisons with NaN are false.
        difference[~np.isfinite(difference)] = np.inf
        actual, _ = rule.decide(pair.candidate[:, rows])
        yield _Band(rows, expected, actual, rule.equal(expected, actual), firm, difference)


def _default(threshold: float | None) -> float:
    return 0.5 if threshold is None else threshold


def _logit(threshold: float | None) -> float:
    threshold = _default(threshold)
    if threshold <= 0:
        return -np.inf
    return float(np.log(threshold) - np.log1p(-threshold)) if threshold < 1 else np.inf


def _mean_iou(totals: _Totals) -> float:
    seen = totals.either > 0
    return float((totals.both[seen] / totals.either[seen]).mean()) if seen.any() else 1.0


def _failures(limits: Thresholds, relative: float, firm_agreement: float, miou: float) -> Iterator[str]:
    if np.isinf(relative):
        yield "the artifact gives infinite or undefined logits"
    elif relative > limits.logits:
        yield f"the largest logit difference is {relative:.2e} of the range, allowed {limits.logits:.0e}"
    if firm_agreement < limits.firm_agreement:
        yield (
            f"{1 - firm_agreement:.4%} of the labels differ away from near-ties, "
            f"allowed {1 - limits.firm_agreement:.4%}"
        )
    if miou < limits.miou:
        yield f"the mean IoU between the two is {miou:.4f}, the threshold is {limits.miou}"
