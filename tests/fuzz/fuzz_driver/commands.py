"""All commands of segplug, found as the command line finds them, with their options and what they take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from segplug.groups import HOOKS
from segplug.installed import Facts
from segplug.registry.discovery import command_entries, entries

__all__ = ["Command", "all_commands"]

_READ = frozenset({"token_file", "config_file", "image"})
"""Options that are paths in their type and are read. Another path that is read shows as a false alarm."""


@dataclass(frozen=True)
class Command:
    """One command, as its words on the command line."""

    words: tuple[str, ...]
    """``("export", "onnx")``."""
    click: click.Command
    facts: Facts | None
    """What the manifest says of its target; ``None`` for a command of the core."""
    outputs: frozenset[str]
    """The names of the target's own options that name a file to write."""

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def hook(self) -> str:
        """The hook of a target; empty for another command."""
        return self.words[0] if self.words[0] in HOOKS else ""

    @property
    def target(self) -> str:
        return self.words[-1]

    @property
    def options(self) -> tuple[click.Option, ...]:
        return tuple(item for item in self.click.params if isinstance(item, click.Option))

    def writes(self, option: click.Option) -> bool:
        """Whether an option names a file or folder to write."""
        return option.name in self.outputs or (
            isinstance(option.type, click.Path) and option.name not in _READ
        )


def all_commands() -> tuple[Command, ...]:
    """Every command that does something, of the core and of all installed plugins."""
    from segplug.cli.root import root

    return tuple(_leaves(root, ()))


def _leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[Command]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            yield from _leaves(inner, (*words, name))
        return
    entry: Any = None
    outputs: frozenset[str] = frozenset()
    if words[0] in HOOKS:
        from segplug.registry.registry import Registry

        entry = next(found for found in entries(words[0]) if found.target == words[-1])
        specs = Registry().provider(words[0], words[-1]).option_specs
        outputs = frozenset(spec.name for spec in specs if spec.output)
    elif len(words) == 1:
        entry = next((found for found in command_entries() if found.target == words[0]), None)
    yield Command(words, command, entry.facts if entry else None, outputs)
