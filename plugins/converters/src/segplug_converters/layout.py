"""A layout: how one library names the tensors of a family of networks, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from segplug.errors import PluginError
from segplug_converters.names import Template, Words
from segplug_converters.operations import Kind
from segplug_converters.rules import Drop, Make, Move, Rule

__all__ = ["WEIGHT_OR_BIAS", "Layout"]

WEIGHT_OR_BIAS: Words = {"p": ("weight", "bias")}


@dataclass(frozen=True)
class Layout:
    """One library's names for a family of networks, and the rules that turn them into mmseg's names."""

    name: str
    """The value of ``--layout``: ``timm``."""
    description: str
    """The files that have this layout: ``timm's VisionTransformer, DeiT``."""
    anchors: tuple[tuple[str, str], ...]
    """Pairs of templates, a foreign name and mmseg's name for the same tensor. The numbers of blocks and
    stages are read from the names that match them. A file has this layout only if a name matches the first
    anchor."""
    rules: tuple[Rule, ...]
    words: Words = field(default_factory=lambda: WEIGHT_OR_BIAS)
    notes: tuple[str, ...] = ()
    """Known differences between the two networks, a sentence each."""
    one_way: str = ""
    """Why mmseg's weights cannot be converted back to this layout; empty if they can."""
    backbone: Mapping[str, Any] = field(default_factory=dict)
    """mmseg's settings that follow from the library, not from the weights, such as the eps of norms."""
    forbidden: tuple[str, ...] = ()
    """Templates of names that no network of this layout has. A network with one of them has another layout.
    Needed for a layout that makes a tensor which other layouts read from the file."""
    forbidden_anywhere: tuple[str, ...] = ()
    """Templates of names that a file of this layout does not hold, under any prefix. A file with one of them
    has another layout, and this layout would explain only a part of it."""

    def __post_init__(self) -> None:
        """Check the rules: a typing error in a layout must not look like a fault of a file.

        Raises:
            PluginError: a rule cannot be applied, in both directions unless the layout is ``one_way``.
        """
        for foreign, ours in self.anchors:
            if _numbers(self, foreign) != _numbers(self, ours):
                raise PluginError(
                    f"layout {self.name}: the names of the anchor {(foreign, ours)} differ in their numbers"
                )
        for rule in self.rules:
            reason = _find_fault(self, rule)
            if reason:
                raise PluginError(f"layout {self.name}: {_format_rule(rule)}: {reason}")


def _find_fault(layout: Layout, rule: Rule) -> str:
    """Why a rule cannot be applied; empty if it can."""
    if isinstance(rule, Drop):
        return ""
    if isinstance(rule, Make):
        known, wanted = _variables(layout, rule.like), _variables(layout, rule.target)
        if known and known != wanted:
            return "the two names differ in their variables"
        return _find_missing_anchor(layout, rule.target)
    if rule.operation.kind not in get_args(Kind):
        return f"the operation is of an unknown kind, {rule.operation.kind}"
    if rule.operation.backward is None and not layout.one_way:
        return "the operation cannot be reversed, and the layout does not say that it is one_way"
    sides = [{_variables(layout, name) for name in names} for names in (rule.sources, rule.targets)]
    if rule.shared:
        sides = sides[1:]
    if len(set.union(*sides)) != 1:
        return "the names differ in their variables"
    return _find_missing_anchor(layout, rule.targets[0])


def _find_missing_anchor(layout: Layout, name: str) -> str:
    numbers = _numbers(layout, name)
    if any(numbers <= _numbers(layout, anchor) for _, anchor in layout.anchors):
        return ""
    return f"no anchor has the numbers {', '.join(sorted(numbers))}"


def _variables(layout: Layout, name: str) -> frozenset[str]:
    return frozenset(Template(name, layout.words).variables)


def _numbers(layout: Layout, name: str) -> frozenset[str]:
    return Template(name, layout.words).numbers


def _format_rule(rule: Rule) -> str:
    if isinstance(rule, Move):
        return f"{' + '.join(rule.sources)} to {' + '.join(rule.targets)}"
    return rule.target if isinstance(rule, Make) else rule.source
