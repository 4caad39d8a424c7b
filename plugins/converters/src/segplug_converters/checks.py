"""A layout's table, checked before it is used: a slip in a name must not look like a fault of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from segplug.errors import PluginError
from segplug_converters.names import Template
from segplug_converters.operations import Kind
from segplug_converters.rules import Drop, Make, Move, Rule

if TYPE_CHECKING:
    from segplug_converters.layout import Layout

__all__ = ["check_table"]


def check_table(layout: Layout) -> None:
    """Check that every rule of a layout can be applied, in both directions where there is a way back.

    Raises:
        PluginError: it says which rule cannot, and why.
    """
    for anchor in layout.anchors:
        if _numbers(layout, anchor[0]) != _numbers(layout, anchor[1]):
            raise PluginError(
                f"layout {layout.name}: the names of the anchor {anchor} differ in their numbers"
            )
    for rule in layout.rules:
        reason = _fault(layout, rule)
        if reason:
            raise PluginError(f"layout {layout.name}: {_shown(rule)}: {reason}")


def _fault(layout: Layout, rule: Rule) -> str:
    if isinstance(rule, Drop):
        return ""
    if isinstance(rule, Make):
        known, wanted = _variables(layout, rule.like), _variables(layout, rule.target)
        if known and known != wanted:
            return "the two names differ in their variables"
        return _without_anchor(layout, rule.target)
    if rule.operation.kind not in get_args(Kind):
        return f"the operation is of an unknown kind, {rule.operation.kind}"
    if rule.operation.backward is None and not layout.one_way:
        return "the operation has no way back, and the layout does not say that it is one_way"
    sides = [{_variables(layout, name) for name in names} for names in (rule.sources, rule.targets)]
    if rule.shared:
        sides = sides[1:]
    if len(set.union(*sides)) != 1:
        return "the names differ in their variables"
    return _without_anchor(layout, rule.targets[0])


def _without_anchor(layout: Layout, name: str) -> str:
    numbers = _numbers(layout, name)
    if any(numbers <= _numbers(layout, anchor) for _, anchor in layout.anchors):
        return ""
    return f"no anchor has the numbers {', '.join(sorted(numbers))}"


def _variables(layout: Layout, name: str) -> frozenset[str]:
    return frozenset(Template(name, layout.words).variables)


def _numbers(layout: Layout, name: str) -> frozenset[str]:
    return Template(name, layout.words).numbers


def _shown(rule: Rule) -> str:
    if isinstance(rule, Move):
        return f"{' + '.join(rule.sources)} to {' + '.join(rule.targets)}"
    return rule.target if isinstance(rule, Make) else rule.source
