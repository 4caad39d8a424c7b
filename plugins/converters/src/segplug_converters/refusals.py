"""Why a conversion is refused, in one line that lists the tensors it is about."""

from __future__ import annotations

from collections.abc import Collection

from segplug.errors import CheckpointError
from segplug.results import BackboneFit
from segplug_converters.layout import shown
from segplug_converters.names import grouped
from segplug_converters.plan import Plan

__all__ = ["does_not_fit", "left_over"]

_MOST = 20
"""So many kinds of names are listed."""


def left_over(plan: Plan, source: str, *, keeps_unknown: bool) -> CheckpointError:
    """Tensors of ``source`` that no rule knows, or that a rule misses."""
    parts = []
    if plan.unknown and not keeps_unknown:
        parts.append(f"{len(plan.unknown)} tensors that no rule knows ({_listed(plan.unknown)})")
    if plan.missing:
        parts.append(f"{len(plan.missing)} tensors missing ({_listed(plan.missing)})")
    hint = "if the network computes with them, it is not mmseg's; --allow-unknown keeps them all the same"
    if plan.missing:
        hint = "it is another network, or in another layout" if plan.unknown else "is the file whole?"
    whose = f"as {plan.layout.what}" if not plan.prefix else f"as {plan.layout.what} under {plan.prefix}*"
    return CheckpointError(f"{source}, read {whose}: {'; '.join(parts)}", hint=hint)


def does_not_fit(fit: BackboneFit, config: str) -> CheckpointError:
    """The result and the backbone of ``config`` differ in names or shapes."""
    shapes = [f"{name} {shown(given)} for {shown(wanted)}" for name, given, wanted in fit.misshaped]
    parts = [
        f"{len(fit.missing)} missing ({_listed(fit.missing)})" if fit.missing else "",
        f"{len(fit.unexpected)} unexpected ({_listed(fit.unexpected)})" if fit.unexpected else "",
        f"{len(shapes)} of another shape ({_listed(shapes)})" if shapes else "",
    ]
    return CheckpointError(
        f"the weights do not fit the backbone {fit.backbone} of {config}: {'; '.join(filter(None, parts))}",
        hint="the report of a run with --dry-run, without --check, says which settings fit",
    )


def _listed(names: Collection[str]) -> str:
    lines = grouped(names)
    more = f", and {len(lines) - _MOST} kinds more" if len(lines) > _MOST else ""
    return ", ".join(lines[:_MOST]) + more
