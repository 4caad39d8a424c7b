"""Names of tensors as templates: ``blocks.<i>.norm<n>.<p>``.

A part in angle brackets is a variable: a *word*, whose values the layout lists (``p``: weight or bias), or
any number. ``<s-1>`` is the number ``s`` minus 1. ``<*>`` matches any text and has no value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Template", "Values", "Words", "group_names"]

Words = Mapping[str, Sequence[str]]
"""A variable's name to the values that it can have."""

Values = Mapping[str, int | str]
"""A variable's name to its value."""

_VARIABLE = re.compile(r"<(\*|[a-z]+)([+-]\d+)?>")


@dataclass(frozen=True)
class Template:
    """A pattern of names: it matches names, and variables can be filled in."""

    text: str
    words: Words

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The variables with values, in order."""
        return tuple(dict.fromkeys(m.group(1) for m in _VARIABLE.finditer(self.text) if m.group(1) != "*"))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """The variables that are numbers."""
        return frozenset(name for name in self.variables if name not in self.words)

    def fill(self, values: Values) -> str:
        """The name with these values in it."""

        def value(match: re.Match[str]) -> str:
            name, shift = match.groups()
            found = values[name]
            return str(int(found) + int(shift)) if shift else str(found)

        return _VARIABLE.sub(value, self.text)

    def match(self, name: str) -> dict[str, int | str] | None:
        """The values of the variables in this name; ``None`` if it does not match."""
        found = self._pattern.fullmatch(name)
        return None if found is None else self._read(found.groups())

    def search(self, name: str) -> tuple[str, dict[str, int | str]] | None:
        """Match the end of a name: the prefix before the match, and the values; ``None`` without a match.

        A prefix is a path of attributes (``encoder.``), never an index of a list (``layers.0.``). If the
        template has slashes, so has the prefix (``opt/target/``).
        """
        found = self._prefixed.fullmatch(name)
        if found is None:
            return None
        prefix, *groups = found.groups()
        values = self._read(groups)
        return None if values is None else (prefix, values)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self._source)

    @cached_property
    def _prefixed(self) -> re.Pattern[str]:
        separator = "/" if "/" in self.text else r"\."
        return re.compile(rf"((?:[A-Za-z_]\w*{separator})*?){self._source}")

    @cached_property
    def _source(self) -> str:
        """The template as a regular expression with a group for each place of a variable."""
        source, end = "", 0
        for place in _VARIABLE.finditer(self.text):
            source += re.escape(self.text[end : place.start()])
            end = place.end()
            source += self._values_at(*place.groups())
        return source + re.escape(self.text[end:])

    def _values_at(self, name: str, shift: str | None) -> str:
        """The regular expression for the values of a variable."""
        if name == "*":
            return ".+"
        if name not in self.words:
            return "([0-9]+)"
        words = [str(int(word) + int(shift)) if shift else word for word in self.words[name]]
        return f"({'|'.join(map(re.escape, words))})"

    def _read(self, groups: Sequence[str]) -> dict[str, int | str] | None:
        """The values of the variables; ``None`` if a variable would have two different values."""
        places = [place for place in _VARIABLE.finditer(self.text) if place.group(1) != "*"]
        values: dict[str, int | str] = {}
        for place, text in zip(places, groups, strict=True):
            name, shift = place.groups()
            value: int | str = int(text) - int(shift or 0) if shift or name not in self.words else text
            value = str(value) if name in self.words else value
            if values.setdefault(name, value) != value:
                return None
        return values


_NUMBER = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=[A-Za-z]))(?:0|[1-9]\d*)(?![A-Za-z0-9])")


def group_names(names: Iterable[str]) -> tuple[str, ...]:
    """Shorten a list of names without loss: consecutive numbers become ``0-11``."""
    groups: dict[tuple[str, ...], set[tuple[int, ...]]] = {}
    for name in names:
        numbers = tuple(int(number) for number in _NUMBER.findall(name))
        groups.setdefault(tuple(_NUMBER.split(name)), set()).add(numbers)
    return tuple(
        "".join(part + number for part, number in zip(parts, [*columns, ""], strict=True))
        for parts, numbers in groups.items()
        for columns in _products(numbers)
    )


def _products(rows: Collection[tuple[int, ...]]) -> list[tuple[str, ...]]:
    """Rows of numbers as products of ranges, column by column."""
    if () in rows:
        return [()]
    after: dict[int, set[tuple[int, ...]]] = {}
    for first, *rest in sorted(rows):
        after.setdefault(first, set()).add(tuple(rest))
    alike: dict[frozenset[tuple[int, ...]], list[int]] = {}
    for first, rests in after.items():
        alike.setdefault(frozenset(rests), []).append(first)
    return [(_range(firsts), *line) for rests, firsts in alike.items() for line in _products(rests)]


def _range(numbers: Sequence[int]) -> str:
    """Sorted numbers as text: ``0-3`` if they are consecutive, ``{0-3,7}`` if there are gaps."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return texts[0] if len(texts) == 1 else "{" + ",".join(texts) + "}"
