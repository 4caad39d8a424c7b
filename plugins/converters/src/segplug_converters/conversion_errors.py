"""The errors of a conversion, each in one line that lists the tensors at fault."""

from __future__ import annotations

from collections.abc import Collection

from segplug.errors import CheckpointError
from segplug.results import BackboneFit
from segplug.text import counted
from segplug_converters.names import group_names
from segplug_converters.plan import Plan
from segplug_converters.shapes import format_shape

__all__ = ["backbone_mismatch", "incomplete_plan"]

_MOST = 20
"""The number of groups of names that are listed."""


def incomplete_plan(plan: Plan, source: str, *, keeps_unknown: bool) -> CheckpointError:
    """``source`` holds tensors that no rule knows, or lacks tensors that the rules need."""
    parts = []
    if plan.unknown and not keeps_unknown:
        parts.append(
            f"{counted(len(plan.unknown), 'tensor')} that no rule knows ({_format_names(plan.unknown)})"
        )
    if plan.missing:
        parts.append(f"{counted(len(plan.missing), 'tensor')} missing ({_format_names(plan.missing)})")
    hint = "if the network computes with them, it is not mmseg's; --allow-unknown keeps them all the same"
    if plan.missing:
        hint = "it is another network, or in another layout" if plan.unknown else "is the file whole?"
    layout = f"as {plan.layout.description}" + (f" under {plan.prefix}*" if plan.prefix else "")
    return CheckpointError(f"{source}, read {layout}: {'; '.join(parts)}", hint=hint)


def backbone_mismatch(fit: BackboneFit, config: str) -> CheckpointError:
    """The result and the backbone of ``config`` differ in names or shapes."""
    shapes = [
        f"{name} {format_shape(given)} for {format_shape(wanted)}" for name, given, wanted in fit.misshaped
    ]
    parts = [
        f"{len(fit.missing)} missing ({_format_names(fit.missing)})" if fit.missing else "",
        f"{len(fit.unexpected)} unexpected ({_format_names(fit.unexpected)})" if fit.unexpected else "",
        f"{len(shapes)} of another shape ({_format_names(shapes)})" if shapes else "",
    ]
    return CheckpointError(
        f"the weights do not fit the backbone {fit.backbone} of {config}: {'; '.join(filter(None, parts))}",
        hint="run with --dry-run and without --check: the report says which settings fit",
    )


def _format_names(names: Collection[str]) -> str:
    lines = group_names(names)
    more = f", and {len(lines) - _MOST} more groups" if len(lines) > _MOST else ""
    return ", ".join(lines[:_MOST]) + more
