"""What ``test_evaluator`` says: how labels are scored, and how mmseg writes label maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from segplug.errors import DatasetError
from segplug.progress import Reporter
from segplug_mmseg.v1.leaves import kind_of
from segplug_mmseg.values import is_list

__all__ = ["Evaluator", "read_evaluator"]

SETTING = "test_evaluator"
_SCORES = ("IoUMetric", "CityscapesMetric")
_DEFAULT_IGNORED = 255


@dataclass(frozen=True)
class Evaluator:
    """The evaluators of a config, as far as they change scores and label maps."""

    ignore_index: int | None = None
    """The label that is not scored; ``None``: none says it."""
    nan_to_num: float | None = None
    """The score of a class that does not occur; ``None``: it has none."""
    beta: float = 1.0
    """The weight of recall in the F-score."""
    formats_only: bool = False
    """Whether nothing is scored."""
    writes: bool = False
    """Whether IoUMetric writes label maps."""
    writes_cityscapes: bool = False
    """Whether CityscapesMetric writes label maps, which it always does."""


def read_evaluator(config: Any, reporter: Reporter) -> Evaluator:
    """Read ``test_evaluator``: one evaluator, a list, or an mmengine ``Evaluator`` with ``metrics``.

    Args:
        config: The config.
        reporter: Gets a note for what is not computed as mmseg does, and a warning where two evaluators
            ignore different labels.

    Raises:
        DatasetError: it cannot be read, or scores no labels.
    """
    metrics = list(_metrics(config.get(SETTING)))
    names = [kind_of(settings) for settings in metrics]
    if "DepthMetric" in names:
        raise DatasetError(f"{SETTING} is DepthMetric: it scores depths, and segplug labels")
    known = [settings for settings, name in zip(metrics, names, strict=True) if name in _SCORES]
    ious = [settings for settings, name in zip(metrics, names, strict=True) if name == "IoUMetric"]
    others = sorted(set(names) - {"IoUMetric"})
    if others:
        reporter.note(
            f"{SETTING} has {', '.join(others)}, which is not computed: --eval gives mIoU, mDice and mFscore "
            "as IoUMetric defines them"
        )
    first = ious[0] if ious else {}
    beta = _number(first, "beta")
    if beta is not None and beta <= 0:
        raise DatasetError(f"{SETTING}.beta must be above 0, not {beta:g}")
    return Evaluator(
        ignore_index=_ignored(ious or known, reporter),
        nan_to_num=_number(first, "nan_to_num"),
        beta=1.0 if beta is None else beta,
        formats_only=bool(known) and all(settings.get("format_only") for settings in known),
        writes=any(settings.get("output_dir") for settings in ious),
        writes_cityscapes="CityscapesMetric" in names,
    )


def _metrics(evaluator: Any) -> Iterator[dict[str, Any]]:
    if is_list(evaluator):
        for item in evaluator:
            yield from _metrics(item)
    elif isinstance(evaluator, dict) and "metrics" in evaluator:
        yield from _metrics(evaluator["metrics"])
    elif isinstance(evaluator, dict) and kind_of(evaluator):
        yield evaluator
    elif evaluator:
        raise DatasetError(f"{SETTING} must be a dict with a type, or a list of them, not {evaluator!r}")


def _ignored(known: list[dict[str, Any]], reporter: Reporter) -> int | None:
    found = [settings.get("ignore_index", _DEFAULT_IGNORED) for settings in known]
    for index in found:
        if not isinstance(index, int):
            raise DatasetError(f"{SETTING}.ignore_index must be a label, not {index!r}")
    if len(set(found)) > 1:
        reporter.warn(f"the evaluators of {SETTING} ignore different labels: {found[0]} is ignored here")
    return found[0] if found else None


def _number(settings: dict[str, Any], key: str) -> float | None:
    value = settings.get(key)
    if value is not None and (not isinstance(value, (int, float)) or not math.isfinite(value)):
        raise DatasetError(f"{SETTING}.{key} must be a number, not {value!r}")
    return None if value is None else float(value)
