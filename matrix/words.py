"""What a row says in few words."""

from __future__ import annotations

import math

from matrix.rows import Row

__all__ = ["compared_sizes", "freedom", "share_at_least", "share_at_most"]


def freedom(row: Row) -> str:
    """The sizes that a file with free sizes takes."""
    axes = dict(part.split(" ", 1) for part in row.takes.split(", "))
    height = axes.get("height", "")
    if ".." not in height:
        return f"batch only, {row.exported_for}"
    least, _, steps = height.partition("..")
    words = [] if int(least) < 2 else [f"from {least}"]
    if "steps of" in steps:
        words.append("multiples of " + steps.rsplit(" ", 1)[1])
    return ", ".join(words) or "any size"


def compared_sizes(row: Row) -> str:
    """Batch, height and width of the comparisons, without repetitions."""
    return ", ".join(dict.fromkeys(name.removeprefix("sample ").split(" [")[0] for name in row.compared_at))


def share_at_least(share: float) -> str:
    """A share that is rounded downwards, so that only what is whole is 100%."""
    return "100%" if share == 1 else f"{math.floor(share * 1e6) / 1e4:.4f}%"


def share_at_most(share: float) -> str:
    """A share that is rounded upwards, so that only nothing is 0%."""
    return "0%" if share == 0 else f"{math.ceil(share * 1e6) / 1e4:.4f}%"
