"""Which layout a file has, and, when it is of another family, which target fits it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from segplug_converters.layout import Layout
from segplug_converters.plan import Plan, lay_out

if TYPE_CHECKING:
    from segplug.session import Session

__all__ = ["best_plan", "fitting_targets"]


def best_plan(layouts: Sequence[Layout], names: Collection[str], *, reverse: bool = False) -> Plan | None:
    """The plan of the layout that explains most of the file; ``None`` where none begins to."""
    plans = [plan for layout in layouts if (plan := lay_out(layout, names, reverse=reverse)) is not None]
    return min(plans, key=lambda plan: plan.merit, default=None)


def fitting_targets(session: Session, names: Collection[str]) -> dict[str, str]:
    """The installed targets that have a layout which explains all of the file, and whose files have it.

    A target says so with ``explains(names) -> str | None``; one that cannot be loaded is no help and no
    error.
    """
    targets = {}
    for entry in session.targets("convert_weights"):
        try:
            # Whatever a stranger's provider does, it is not what the user asked about.
            explains = session.registry.provider("convert_weights", entry.qualified).method("explains")
            if explains is not None and (whose := explains(names)):
                targets[entry.target] = str(whose)
        except Exception:
            continue
    return targets
