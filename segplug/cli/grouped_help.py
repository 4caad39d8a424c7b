"""Help texts whose flags are listed by groups: model, data, output, the target's own, backend, run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import click

__all__ = ["Flag", "write_example", "write_groups"]

_BEFORE = ("model", "data", "output")
_AFTER = ("backend", "run")
_UNNAMED = "options"
"""The heading of flags without a group, such as those of a plugin's own command."""


class Flag(click.Option):
    """A flag that belongs to a group of the help text.

    Args:
        names: The flags.
        group: ``model`` (what is loaded), ``data`` (images and masks), ``output`` (what is made), ``backend``
            (where and how the engine runs), ``run`` (the rest), or another name, such as the target's.
        **attributes: Those of click's options.
    """

    def __init__(self, names: Sequence[str], *, group: str, **attributes: Any) -> None:
        super().__init__(list(names), **attributes)
        self.group = group


def write_groups(
    formatter: click.HelpFormatter, parameters: Iterable[click.Parameter], ctx: click.Context
) -> None:
    """Write one section for each group of flags; a target's own come before those of backend and run."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if record is not None:
            sections.setdefault(_group(parameter), []).append(record)
    own = [name for name in sections if name not in (*_BEFORE, *_AFTER)]
    for name in (*_BEFORE, *own, *_AFTER):
        if name in sections:
            with formatter.section(_heading(name)):
                formatter.write_dl(sections[name])


def write_example(formatter: click.HelpFormatter, command: str) -> None:
    r"""Write a section with a command line; a long one is continued with ``\``, so that it can be copied."""
    with formatter.section("Example"):
        indent = " " * formatter.current_indent
        for line in _continued(command, formatter.width - len(indent)):
            formatter.write(f"{indent}{line}\n")


def _group(parameter: click.Parameter) -> str:
    if isinstance(parameter, Flag):
        return parameter.group
    return "run" if "--help" in parameter.opts else _UNNAMED


def _heading(group: str) -> str:
    """``Model`` for a group of segplug's; the name of a target stays as it is."""
    return group.capitalize() if group in (*_BEFORE, *_AFTER, _UNNAMED) else f"Options of {group}"


def _continued(command: str, width: int) -> list[str]:
    """The command on lines that fit; a flag stays with its values."""
    lines = [""]
    for part in _parts(command):
        longer = f"{lines[-1]} {part}" if lines[-1] else part
        if lines[-1] and len(longer) > width - len(" \\"):
            lines.append(f"    {part}")
        else:
            lines[-1] = longer
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _parts(command: str) -> list[str]:
    """The words of the command, as a shell reads them, each flag with the words after it."""
    parts: list[str] = []
    for word in shlex.split(command):
        written = shlex.quote(word)
        if parts and parts[-1].startswith("--") and not word.startswith("--"):
            parts[-1] += f" {written}"
        else:
            parts.append(written)
    return parts
