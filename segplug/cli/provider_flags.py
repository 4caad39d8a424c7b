"""The options of a provider as flags of a command that finds the provider by its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from segplug.cli.parameters import option_from_spec

if TYPE_CHECKING:
    from segplug.installed import Provider

__all__ = ["flags_of", "given_flags"]


def flags_of(
    provider: Provider, own: Sequence[click.Parameter], *, group: str, prefix: str
) -> list[click.Option]:
    """A flag for each option of the provider that is no flag of the command already.

    Args:
        provider: The provider.
        own: The parameters of the command.
        group: As for :class:`segplug.cli.parameters.Flag`.
        prefix: Stands before the name of each option in the values of the command.
    """
    taken = {name for parameter in own for name in parameter.opts}
    flags = []
    for spec in provider.option_specs:
        flag = option_from_spec(spec, group=group)
        if not taken & set(flag.opts):
            flag.name = f"{prefix}{spec.name}"
            flags.append(flag)
    return flags


def given_flags(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The provider's options that were given, by name, from the values of a command."""
    found = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if value is not None and value != ()}
