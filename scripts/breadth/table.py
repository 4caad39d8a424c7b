"""The table of the breadth: one row for each kind of model that is taken."""

from __future__ import annotations

from scripts.breadth.facts import ECOSYSTEMS, MODES, Ecosystem, counts_of

__all__ = ["COLUMNS", "markdown", "measured"]

COLUMNS = ("model of", "what you have", "command", "exports that agree with the network")


def markdown() -> str:
    """The table for README."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for kind in ECOSYSTEMS:
        cells = (f"[{kind.name}]({kind.link})", kind.given, f"`{kind.command}`", measured(kind))
        lines.append(" | ".join(cells))
    return "".join(f"| {line} |\n" for line in lines)


def measured(kind: Ecosystem) -> str:
    """What was measured: ``45 families: 45 of 45 static, 44 of 45 dynamic, 45 of 45 slide``."""
    if not kind.rows:
        return kind.proof
    counts = counts_of(kind.rows)
    each = [f"{passed} of {total}" for passed, total in zip(counts.passed, counts.measured, strict=True)]
    if len(set(each)) == 1:
        found = f"{each[0]} {', '.join(MODES)}"
    else:
        found = ", ".join(f"{one} {mode}" for one, mode in zip(each, MODES, strict=True))
    return f"{counts.kinds} {kind.holds}: {found}"
