"""The result of a count: the work of each operator in each module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from segplug_analysis.flops.rules import Count

__all__ = ["Complexity", "Line", "ModuleCost", "OperatorCost", "Part", "Tally", "upwards"]


@dataclass(frozen=True)
class Line:
    """The calls of one operator in one module."""

    path: str
    operator: str
    calls: int
    count: Count
    how: str | None
    """The rule, in words; ``None``: it is not counted."""


class Tally:
    """Collects calls into lines."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str | None], int] = defaultdict(int)
        self._counts: dict[tuple[str, str, str | None], Count] = defaultdict(Count)

    def add(self, path: str, operator: str, count: Count, how: str | None) -> None:
        """One call."""
        key = (path, operator, how)
        self._calls[key] += 1
        self._counts[key] += count

    def lines(self) -> tuple[Line, ...]:
        """The lines, in the order of the first calls."""
        return tuple(
            Line(path, operator, calls, self._counts[path, operator, how], how)
            for (path, operator, how), calls in self._calls.items()
        )


@dataclass(frozen=True)
class Part:
    """A module, or a group of nodes in an ONNX file."""

    path: str
    kind: str
    """Class of the module; empty: unknown."""
    parameters: int
    """Parameters of it and all modules below."""
    used: int | None = None
    """How many of them an operator used in the pass; ``None``: unknown."""

    @property
    def depth(self) -> int:
        """0 for the network, 1 for its children."""
        return self.path.count(".") + 1 if self.path else 0


@dataclass(frozen=True)
class Complexity:
    """The work of one pass."""

    shape: tuple[int, int]
    """Input (height, width) in pixels."""
    channels: int
    """Channels of the input."""
    lines: tuple[Line, ...]
    parts: tuple[Part, ...]
    """The network (path ``""``) first, each part before those below it."""
    batch: int = 1
    """Images in the pass."""
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Count:
        """The work of the whole network."""
        return _sum(line.count for line in self.lines)

    @property
    def whole(self) -> Part:
        """The network itself."""
        return self.parts[0]

    def modules(self) -> list[ModuleCost]:
        """Every part with its work, largest first, each before those below it."""
        own: dict[str, Count] = defaultdict(Count)
        total: dict[str, Count] = defaultdict(Count)
        for line in self.lines:
            own[line.path] += line.count
            for path in upwards(line.path):
                total[path] += line.count
        costs = [ModuleCost(part, own[part.path], total[part.path]) for part in self.parts]
        return list(_largest_first(costs))

    def operators(self) -> list[OperatorCost]:
        """Every operator, most work first."""
        groups: dict[tuple[str, str | None], list[Line]] = defaultdict(list)
        for line in self.lines:
            groups[line.operator, line.how].append(line)
        costs = [
            OperatorCost(operator, sum(line.calls for line in lines), _sum(line.count for line in lines), how)
            for (operator, how), lines in groups.items()
        ]
        return sorted(costs, key=lambda cost: (-cost.count.flops, -cost.calls, cost.operator))


@dataclass(frozen=True)
class ModuleCost:
    """A part and its work."""

    part: Part
    own: Count
    """Work of its own operators."""
    total: Count
    """With the work of all modules below it."""


@dataclass(frozen=True)
class OperatorCost:
    """An operator and its work in the whole network."""

    operator: str
    calls: int
    count: Count
    how: str | None


def _sum(counts: Iterable[Count]) -> Count:
    return sum(counts, Count())


def upwards(path: str) -> Iterator[str]:
    """A path and all paths above it, up to the network (``""``)."""
    yield path
    while path:
        path = path.rpartition(".")[0]
        yield path


def _largest_first(costs: list[ModuleCost]) -> Iterator[ModuleCost]:
    below: dict[str, list[ModuleCost]] = defaultdict(list)
    for cost in costs[1:]:
        below[cost.part.path.rpartition(".")[0]].append(cost)

    def walk(cost: ModuleCost) -> Iterator[ModuleCost]:
        yield cost
        ranked = sorted(
            below[cost.part.path],
            key=lambda item: (-item.total.macs, -item.total.others, -item.part.parameters),
        )
        for item in ranked:
            yield from walk(item)

    return walk(costs[0])
