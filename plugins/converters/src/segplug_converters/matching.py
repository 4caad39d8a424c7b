"""Find the layout of a file, and the targets that can convert a file of another family."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from segplug_converters.layout import Layout
from segplug_converters.plan import Plan, plan_conversion

if TYPE_CHECKING:
    from segplug.session import Session

__all__ = ["best_plan", "matching_targets"]


def best_plan(layouts: Sequence[Layout], names: Collection[str], *, reverse: bool = False) -> Plan | None:
    """The plan of the layout that leaves the fewest names over; ``None`` if no layout matches."""
    plans = [
        plan for layout in layouts if (plan := plan_conversion(layout, names, reverse=reverse)) is not None
    ]
    return min(plans, key=lambda plan: plan.cost, default=None)


def matching_targets(session: Session, names: Collection[str]) -> dict[str, str]:
    """The installed targets with a layout that has all names of a file, and the description of that layout.

    A target is asked by its method ``layout_of(names) -> str | None``. One that cannot be loaded is left out.
    """
    targets = {}
    for entry in session.targets("convert_weights"):
        try:
            # An error in a third party's provider is not what the user asked about.
            converter = session.registry.load(entry).plugin
            layout_of = getattr(converter, "layout_of", None)
            if layout_of is not None and (description := layout_of(names)):
                targets[entry.target] = str(description)
        except Exception:
            continue
    return targets
