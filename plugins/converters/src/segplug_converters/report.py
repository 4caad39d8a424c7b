"""The report of a conversion: the change of every tensor, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from segplug.results import BackboneFit, Table
from segplug.text import counted
from segplug_converters.names import group_names
from segplug_converters.plan import Dropped, Plan, Step
from segplug_converters.rules import Make, Move
from segplug_converters.settings import format_settings
from segplug_converters.shapes import Variant, format_shape

__all__ = ["as_data", "as_tables"]


def as_data(plan: Plan, variant: Variant, fit: BackboneFit | None) -> dict[str, Any]:
    """The report as JSON types.

    ``renamed``, ``reshaped``, ``transposed``, ``merged``, ``reordered`` and ``computed`` are lists of
    ``{"from": [names], "to": [names]}``, without the prefix. ``renamed`` includes names that stay the same.
    With ``--reverse``, ``merged`` lists tensors that are split again.
    """
    moved: dict[str, list[dict[str, list[str]]]] = {
        kind: [] for kind in ("renamed", "reshaped", "transposed", "merged", "reordered", "computed")
    }
    for step in plan.steps:
        moved[_kind(step)].append({"from": list(step.sources), "to": list(step.targets)})
    data: dict[str, Any] = {
        "layout": plan.layout.name,
        "prefix": plan.prefix,
        "variant": variant.name,
        "backbone": dict(variant.backbone),
        **moved,
        "dropped": [{"name": drop.name, "why": drop.why} for drop in plan.dropped],
        "left_over": {"source": list(plan.unknown), "target": list(plan.missing)},
    }
    if fit is not None:
        data["check"] = {
            "backbone": fit.backbone,
            "tensors": len(fit.state),
            "resized": [
                {"name": each.name, "before": list(each.before), "after": list(each.after), "how": each.how}
                for each in fit.resized
            ],
            "left_out": list(fit.left_out),
        }
    return data


def as_tables(plan: Plan, variant: Variant, fit: BackboneFit | None) -> tuple[Table, ...]:
    """The report as tables: a row for each rule, not for each tensor."""
    tables = [Table("mapping", ("change", "from", "to", "tensors"), tuple(_by_rule(plan)))]
    if operations := _operations(plan):
        tables.append(Table("operations", ("change", "how"), operations))
    if plan.dropped:
        tables.append(Table("dropped", ("name", "why", "tensors"), tuple(_by_reason(plan.dropped))))
    if plan.unknown:
        kept = tuple((name, "no rule knows it: kept as it is") for name in group_names(plan.unknown))
        tables.append(Table("left over", ("name", "why"), kept))
    if fit is not None and fit.resized:
        shapes = ((r.name, format_shape(r.before), format_shape(r.after), r.how) for r in fit.resized)
        tables.append(Table("resized for the config", ("name", "from", "to", "how"), tuple(shapes)))
    if fit is not None and fit.left_out:
        absent = tuple((name, "the config's backbone has no such part") for name in group_names(fit.left_out))
        tables.append(Table("left out", ("name", "why"), absent))
    tables.append(_summary(plan, variant, fit))
    return tuple(tables)


def _by_rule(plan: Plan) -> Iterable[tuple[Any, ...]]:
    """One row for each rule that was used, with its templates."""
    counts: dict[int, list[Step]] = {}
    for step in plan.steps:
        counts.setdefault(id(step.rule), []).append(step)
    for used in counts.values():
        rule = used[0].rule
        if isinstance(rule, Make):
            yield "computed", rule.why, rule.target, len(used)
            continue
        sources, targets = (rule.targets, rule.sources) if plan.reverse else (rule.sources, rule.targets)
        yield _format_kind(used[0], plan), " + ".join(sources), " + ".join(targets), len(used)


def _operations(plan: Plan) -> tuple[tuple[str, str], ...]:
    """How tensors that are not only renamed were changed, one row for each operation."""
    operations = {
        (_format_kind(step, plan), step.rule.operation.text): None
        for step in plan.steps
        if isinstance(step.rule, Move) and step.rule.operation.text
    }
    return tuple(operations)


def _format_kind(step: Step, plan: Plan) -> str:
    kind = _kind(step)
    return "split" if plan.reverse and kind == "merged" else kind


def _kind(step: Step) -> str:
    return "computed" if isinstance(step.rule, Make) else step.rule.operation.kind


def _by_reason(dropped: Iterable[Dropped]) -> Iterable[tuple[Any, ...]]:
    reasons: dict[str, list[str]] = {}
    for drop in dropped:
        reasons.setdefault(drop.why, []).append(drop.name)
    for why, names in reasons.items():
        lines = group_names(names)
        listed = ", ".join(lines[:3]) + (f", ... ({len(lines)} groups)" if len(lines) > 3 else "")
        yield listed, why, len(names)


def _summary(plan: Plan, variant: Variant, fit: BackboneFit | None) -> Table:
    rows: list[tuple[str, Any]] = [
        ("layout", plan.layout.description),
        ("variant", variant.name),
        ("backbone settings", format_settings(variant.backbone)),
    ]
    if fit is not None:
        rows.append(("check", f"{counted(len(fit.state), 'tensor')} loaded strictly into {fit.backbone}"))
    return Table("weights", ("", ""), tuple(rows))
