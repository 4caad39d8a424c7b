"""Plan a conversion: apply a layout's rules to the names in a file."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from segplug.errors import CheckpointError, PluginError
from segplug_converters.layout import Layout
from segplug_converters.names import Template, Values, group_names
from segplug_converters.rules import Drop, Make, Move

__all__ = ["Dropped", "Plan", "Step", "plan_conversion"]


@dataclass(frozen=True)
class Step:
    """One application of a rule."""

    rule: Move | Make
    sources: tuple[str, ...]
    """Names in the file, without the prefix; for a :class:`Make`, a name that an earlier step made."""
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Dropped:
    """A tensor of the file that is left out."""

    name: str
    """The full name in the file."""
    why: str


@dataclass(frozen=True)
class Plan:
    """The steps of a conversion, and the names that are left over on either side."""

    layout: Layout
    prefix: str
    """The start of every name of the backbone in the file."""
    steps: tuple[Step, ...]
    dropped: tuple[Dropped, ...]
    unknown: tuple[str, ...]
    """Names in the file that no rule knows, without the prefix."""
    missing: tuple[str, ...]
    """Names that the rules need and the file lacks, without the prefix."""
    reverse: bool
    """The file has mmseg's names, and they become the layout's."""

    @property
    def complete(self) -> bool:
        """Whether nothing is left over on either side."""
        return not (self.unknown or self.missing)

    @property
    def cost(self) -> tuple[int, int]:
        """The smaller, the better the layout fits the file."""
        return len(self.unknown) + len(self.missing), -self._used

    @property
    def plausible(self) -> bool:
        """Whether the rules use at least as many names as are left over: another network may share a few."""
        return self._used >= len(self.unknown) + len(self.missing)

    @property
    def _used(self) -> int:
        return sum(len(step.sources) for step in self.steps if isinstance(step.rule, Move))

    @property
    def optional_targets(self) -> tuple[str, ...]:
        """mmseg's names that a network may lack, depending on its config."""
        return tuple(name for step in self.steps if step.rule.optional_target for name in step.targets)


def plan_conversion(layout: Layout, names: Collection[str], *, reverse: bool = False) -> Plan | None:
    """Apply a layout's rules to the names of a file; ``None`` if the file has another layout.

    Args:
        layout: The rules.
        names: All names in the file.
        reverse: The file has mmseg's names, and they become the layout's.

    Raises:
        CheckpointError: the file holds several networks of this layout.
    """
    forbidden = [Template(text, layout.words) for text in layout.forbidden_anywhere]
    if not reverse and any(template.search(name) for template in forbidden for name in names):
        return None
    anchors = [Template(pair[1 if reverse else 0], layout.words) for pair in layout.anchors]
    prefixes = sorted({match[0] for name in names if (match := anchors[0].search(name))})
    plans = [_plan_under_prefix(prefix, layout, anchors, names, reverse=reverse) for prefix in prefixes]
    whole = [plan for plan in plans if plan is not None and plan.complete]
    if len(whole) > 1:
        raise CheckpointError(
            f"the file holds several networks, under {' and '.join(repr(plan.prefix) for plan in whole)}",
            hint="put the one you want into a file of its own",
        )
    # A second prefix may belong to another part of one network: decoders have blocks, too.
    return min(filter(None, whole or plans), key=lambda plan: plan.cost, default=None)


def _plan_under_prefix(
    prefix: str, layout: Layout, anchors: Sequence[Template], names: Collection[str], *, reverse: bool
) -> Plan | None:
    """The plan for the network whose names begin with ``prefix``."""
    inside = {name.removeprefix(prefix): None for name in names if name.startswith(prefix)}
    forbidden = [Template(text, layout.words) for text in layout.forbidden]
    if not reverse and any(template.match(name) for template in forbidden for name in inside):
        return None
    numbers = _Numbers(anchors, inside)
    steps, missing = _apply_moves(layout, numbers, inside, reverse=reverse)
    if not reverse:
        steps += _apply_makes(layout, numbers, {name for step in steps for name in step.targets})
    _check_targets(layout, steps)
    used = {name for step in steps if isinstance(step.rule, Move) for name in step.sources}
    dropped, unknown = _sort_unused(layout, [name for name in inside if name not in used], reverse=reverse)
    outside = [Dropped(name, f"outside of {prefix}*") for name in names if not name.startswith(prefix)]
    return Plan(
        layout=layout,
        prefix=prefix,
        steps=tuple(steps),
        dropped=(*(Dropped(prefix + drop.name, drop.why) for drop in dropped), *outside),
        unknown=tuple(unknown),
        missing=tuple(missing),
        reverse=reverse,
    )


def _check_targets(layout: Layout, steps: Sequence[Step]) -> None:
    counts = Counter(name for step in steps for name in step.targets)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise PluginError(f"layout {layout.name}: several rules give {', '.join(group_names(twice))}")


class _Numbers:
    """The numbers of blocks and stages, read from the names that match the anchors."""

    def __init__(self, anchors: Sequence[Template], names: Collection[str]) -> None:
        self._tables = [
            (anchor.numbers, [values for name in names if (values := anchor.match(name)) is not None])
            for anchor in anchors
        ]

    def values(self, templates: Sequence[Template]) -> Iterator[Values]:
        """Every set of values that the variables of these templates can have."""
        words = {
            name: template.words[name]
            for template in templates
            for name in template.variables
            if name in template.words
        }
        for numbers in self._numbers(frozenset().union(*(template.numbers for template in templates))):
            for chosen in itertools.product(*words.values()):
                yield {**numbers, **dict(zip(words, chosen, strict=True))}

    def _numbers(self, wanted: frozenset[str]) -> list[Values]:
        """The values of the anchor with exactly these variables, else of the first that has them all."""
        tables = [table for table in self._tables if table[0] == wanted]
        tables += [table for table in self._tables if table[0] > wanted]
        found = tables[0][1] if wanted else [{}]
        chosen = ({name: values[name] for name in values if name in wanted} for values in found)
        return [dict(pairs) for pairs in dict.fromkeys(tuple(values.items()) for values in chosen)]


def _apply_moves(
    layout: Layout, numbers: _Numbers, inside: Collection[str], *, reverse: bool
) -> tuple[list[Step], list[str]]:
    """The steps that move tensors, and the names that the file lacks for them."""
    steps: list[Step] = []
    missing: list[str] = []
    absent_of: dict[str, list[str]] = {}
    begun: dict[str, None] = {}
    for rule in layout.rules:
        if not isinstance(rule, Move):
            continue
        made, absent, partly = _apply_move(rule, layout, numbers, inside, reverse=reverse)
        steps += made
        if not rule.optional:
            missing += absent
            continue
        absent_of.setdefault(rule.optional, []).extend(absent)
        if made or partly:
            begun[rule.optional] = None
    missing += [name for group in begun for name in absent_of[group]]
    return steps, list(dict.fromkeys(missing))


def _apply_move(
    rule: Move, layout: Layout, numbers: _Numbers, inside: Collection[str], *, reverse: bool
) -> tuple[list[Step], list[str], bool]:
    """The steps of one rule, the names that it lacks, and whether the file has only a part of a step."""
    sources = [Template(text, layout.words) for text in rule.sources]
    targets = [Template(text, layout.words) for text in rule.targets]
    given, wanted = (targets, sources) if reverse else (sources, targets)
    if rule.shared:
        made, absent = _apply_shared(rule, given[0], wanted[0], numbers, inside, reverse=reverse)
        return made, absent, False
    steps, missing, partly = [], [], False
    for values in numbers.values(given):
        names = tuple(template.fill(values) for template in given)
        absent = [name for name in names if name not in inside]
        if not absent:
            steps.append(Step(rule, names, tuple(template.fill(values) for template in wanted)))
        missing += absent
        partly = partly or 0 < len(absent) < len(names)
    if not steps and not missing:
        # No name matches the anchor, so there are no numbers to fill in: the templates themselves are listed.
        missing = [template.text for template in given]
    return steps, missing, partly


def _apply_shared(
    rule: Move,
    given: Template,
    wanted: Template,
    numbers: _Numbers,
    inside: Collection[str],
    *,
    reverse: bool,
) -> tuple[list[Step], list[str]]:
    """One step for each block; with ``reverse`` one step from all blocks."""
    sources, targets = (
        tuple(template.fill(values) for values in numbers.values([template])) for template in (given, wanted)
    )
    absent = [name for name in sources if name not in inside]
    if absent:
        return [], absent
    if reverse:
        return [Step(rule, sources, targets)], []
    return [Step(rule, sources, (target,)) for target in targets], []


def _apply_makes(layout: Layout, numbers: _Numbers, there: Collection[str]) -> list[Step]:
    """The steps that make tensors which the foreign layout lacks."""
    steps = []
    for rule in layout.rules:
        if not isinstance(rule, Make):
            continue
        like, target = Template(rule.like, layout.words), Template(rule.target, layout.words)
        for values in numbers.values([like, target]):
            name, source = target.fill(values), like.fill(values)
            if source in there and name not in there:
                steps.append(Step(rule, (source,), (name,)))
    return steps


def _sort_unused(layout: Layout, names: Sequence[str], *, reverse: bool) -> tuple[list[Dropped], list[str]]:
    """Sort names that no rule moves: those that a rule drops, and those that no rule knows."""
    rules: list[tuple[Template, str]] = []
    for rule in layout.rules:
        if isinstance(rule, Drop) and not reverse:
            rules.append((Template(rule.source, layout.words), rule.why))
        elif isinstance(rule, Make) and reverse:
            rules.append((Template(rule.target, layout.words), f"{layout.name} has no such tensor"))
    dropped, unknown = [], []
    for name in names:
        why = next((why for template, why in rules if template.match(name) is not None), None)
        if why is None:
            unknown.append(name)
        else:
            dropped.append(Dropped(name, why))
    return dropped, unknown
