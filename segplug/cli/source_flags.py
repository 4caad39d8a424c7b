"""The options of a model's source as flags: ``segplug export onnx python:nets:UNet --mean 0 0 0``.

A location that begins with the name of a source and a colon chooses this source, as ``--source`` does; so
does a folder or file that one source reads. The command then has the flags that this source declares, beside
``--source-options KEY=VALUE``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from segplug.cli.parameters import GreedyCommand, key_values
from segplug.cli.provider_flags import flags_of, given_flags
from segplug.errors import UsageError
from segplug.providers import Confidence

if TYPE_CHECKING:
    from segplug.installed import Provider

__all__ = ["ModelCommand", "reader_of_a_path"]

_FLAGS = "segplug.source_flags"
"""The key of the source's flags in the context of a command."""

_PREFIX = "source_flag_"


class ModelCommand(GreedyCommand):
    """A command with the flags of the model's source, if it has ``--source-options``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(parameter.name == "source_options" for parameter in self.params):
            source = _named_source(args) or reader_of_a_path(args)
            if source is not None:
                group = f"the source {source.entry.target}"
                ctx.meta[_FLAGS] = flags_of(source, self.params, group=group, prefix=_PREFIX)
        given_args = list(args)  # click empties the list
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if _FLAGS not in ctx.meta and (missing := _missing_path(given_args)):
                # Its source would have told which flags there are.
                raise UsageError(f"there is no file or folder {missing}") from error
            raise
        given = given_flags(ctx.params, _PREFIX)
        ctx.params = {name: value for name, value in ctx.params.items() if not name.startswith(_PREFIX)}
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


def _missing_path(args: Sequence[str]) -> str | None:
    """The model that is named first, if it looks like a path and leads nowhere."""
    first = args[0] if args and not args[0].startswith("-") else ""
    is_path = os.path.dirname(first) or os.path.splitext(first)[1]
    return first if is_path and not os.path.exists(os.path.expanduser(first)) else None


def reader_of_a_path(args: Sequence[str]) -> Provider | None:
    """The source of models that is sure to read a folder or file among the arguments, and no other is."""
    from segplug.registry.registry import Registry
    from segplug.registry.sources import accepting_sources, usable_sources

    paths = [arg for arg in args if os.path.exists(os.path.expanduser(arg))]
    if not paths:
        return None
    sources, _ = usable_sources(Registry().load, "load_model")
    for path in paths:
        found = accepting_sources(sources, path, [])
        if len(found) == 1 and found[0].method("accepts")(path) >= Confidence.LIKELY:
            return found[0]
    return None
