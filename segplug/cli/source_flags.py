"""The options of a model's source as flags: ``segplug export onnx python:nets:UNet --mean 0 0 0``.

A location that begins with the name of a source and a colon chooses this source, as ``--source`` does.
The command then has the flags that this source declares, beside ``--source-options KEY=VALUE``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from segplug.cli.parameters import GreedyCommand, key_values, option_from_spec

if TYPE_CHECKING:
    from segplug.installed import Provider

__all__ = ["ModelCommand"]

_FLAGS = "segplug.source_flags"
"""The key of the source's flags in the context of a command."""

_PREFIX = "source_flag_"


class ModelCommand(GreedyCommand):
    """A command with the flags of the model's source, if it has ``--source-options``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(parameter.name == "source_options" for parameter in self.params):
            source = _named_source(args)
            if source is not None:
                ctx.meta[_FLAGS] = _flags_of(source, self.params)
        rest = super().parse_args(ctx, args)
        given = _pop_source_flags(ctx.params)
        if given:
            written = key_values(ctx.params["source_options"], flag="--source-options")
            ctx.params["source_options"] = {**written, **given}
        return rest

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *ctx.meta.get(_FLAGS, ())]


def _named_source(args: Sequence[str]) -> Provider | None:
    """The source that ``--source`` names, or a location that begins with its name and a colon."""
    from segplug.registry.discovery import entries
    from segplug.registry.registry import Registry

    names = {entry.target for entry in entries("load_model")}
    asked = [value for flag, value in pairwise(args) if flag == "--source"]
    asked += [arg.partition("=")[2] for arg in args if arg.startswith("--source=")]
    asked += [name for name, colon, _ in (arg.partition(":") for arg in args) if colon and name in names]
    # An empty one is refused with all other empty arguments.
    return Registry().provider("load_model", asked[0]) if asked and asked[0] else None


def _flags_of(source: Provider, own: Sequence[click.Parameter]) -> list[click.Option]:
    """A flag for each option of the source that is no flag of the command already."""
    taken = {name for parameter in own for name in parameter.opts}
    flags = []
    for spec in source.option_specs:
        flag = option_from_spec(spec, group=f"the source {source.entry.target}")
        if not taken & set(flag.opts):
            flag.name = f"{_PREFIX}{spec.name}"
            flags.append(flag)
    return flags


def _pop_source_flags(values: dict[str, Any]) -> Mapping[str, Any]:
    """The values of the source's flags that were given, removed from the command's own."""
    named = [name for name in values if name.startswith(_PREFIX)]
    found = {name.removeprefix(_PREFIX): values.pop(name) for name in named}
    return {name: value for name, value in found.items() if value is not None and value != ()}
