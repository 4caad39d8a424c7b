"""Find attributes of a plugin that segplug would ignore: misspelt ones, and those of another kind."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from segplug.groups import EXECUTOR_HOOK, HOOKS, SOURCE_HOOKS
from segplug.providers import KINDS

__all__ = ["WRAPPED", "ignored_names"]

WRAPPED = (*HOOKS, *SOURCE_HOOKS, EXECUTOR_HOOK, "command")
"""The hooks that an add-on may wrap."""

_OF_ANYBODY = {"order", "renames", "takes"}
"""Names of attributes that a provider of another kind may well use for something of its own."""


def ignored_names(plugin: object, base: type) -> Iterator[str]:
    """Why segplug would ignore a public attribute of a plugin, one text for each such attribute.

    A name is a misspelling if one or two letters differ from a declared name of the same sort (a method or
    no method), or if it goes on for a few letters more (``write_metadata``). If the plugin has the declared
    one itself, it is none: ``runs`` beside ``run``.
    """
    declared = _declared(base)
    for name in dir(plugin):
        if name.startswith("_") or name in declared:
            continue
        is_method = inspect.isroutine(_unwrapped(plugin, name))
        near = [
            other
            for other, method in sorted(declared.items())
            if method == is_method and _is_near(name, other) and not _has_own(plugin, other, base)
        ]
        if near:
            yield f"it has '{name}', which {base.__name__} does not declare; did you mean '{near[0]}'?"
            continue
        owners = [] if is_method or name in _OF_ANYBODY else _owners(plugin, name)
        if owners:
            kind = owners[0].__name__
            yield f"it has '{name}', which means nothing for {base.__name__}; it belongs to {kind}"


def _declared(base: type) -> dict[str, bool]:
    """The public names of a base class, and whether each is a method."""
    names = {name for kind in base.__mro__ for name in (*vars(kind), *vars(kind).get("__annotations__", {}))}
    found = {name: inspect.isroutine(_unwrapped(base, name)) for name in names if not name.startswith("_")}
    return {**found, **dict.fromkeys(WRAPPED, True)} if base in KINDS["addon"] else found


def _owners(plugin: object, name: str) -> list[type]:
    """The base classes that declare an attribute, unless the plugin implements the hook of one, too."""
    owners = [(hook, base) for hook, bases in KINDS.items() for base in bases if name in _declared(base)]
    if any(callable(getattr(plugin, hook, None)) for hook, _ in owners):
        return []
    return [base for _, base in owners]


def _unwrapped(holder: object, name: str) -> object:
    # Read without running properties: they may need a library, or a state, that is not there yet.
    found = inspect.getattr_static(holder, name, None)
    return found.__func__ if isinstance(found, (staticmethod, classmethod)) else found


def _has_own(plugin: object, name: str, base: type) -> bool:
    found = inspect.getattr_static(plugin, name, None)
    return found is not None and found is not inspect.getattr_static(base, name, None)


def _is_near(name: str, declared: str) -> bool:
    if name.startswith(declared) and len(declared) > 8 and len(name) <= len(declared) + 4:
        return True
    allowed = 1 if len(declared) <= 5 else 2
    return abs(len(name) - len(declared)) <= allowed and _distance(name.casefold(), declared) <= allowed


def _distance(one: str, other: str) -> int:
    """The edit distance: letters added, left out, replaced, or swapped with their neighbour."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(row[j - 1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (letter != wanted))
            swapped = i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted
            row.append(min(cost, rows[-2][j - 2] + 1) if swapped else cost)
        rows.append(row)
    return rows[-1][-1]
