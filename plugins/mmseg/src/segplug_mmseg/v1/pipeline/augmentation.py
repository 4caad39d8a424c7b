"""``TestTimeAug``: views of an image, each with transforms of its own, whose probabilities mmseg averages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from segplug.preprocessing import Flip, Resize, Step, find_steps
from segplug_mmseg.values import is_list

__all__ = ["AUGMENTATION", "plain_view", "read_views"]

AUGMENTATION = "TestTimeAug"


def read_views(step: dict[str, Any]) -> list[list[Any]]:
    """The transforms of each view, in mmcv's order: the last group varies first.

    Raises:
        ValueError: it is no list of lists.
    """
    groups: Any = step.get("transforms")
    if not is_list(groups) or not all(map(is_list, groups)):
        raise ValueError(f"{AUGMENTATION} has transforms={groups!r}, no list of lists")
    views = [list(view) for view in itertools.product(*groups)]
    if not views:
        raise ValueError(f"{AUGMENTATION} has a list without transforms")
    return views


def plain_view(views: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    """The view to run where views are not averaged: without a flip, at the plain scale if there is one."""
    unflipped = [view for view in views if not find_steps(view, Flip)] or list(views)
    return next((view for view in unflipped if not _is_scaled(view)), unflipped[0])


def _is_scaled(view: tuple[Step, ...]) -> bool:
    return any(step.factors is not None for step in find_steps(view, Resize))
