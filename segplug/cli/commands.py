"""One command for each hook, completed with the options that the chosen provider declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import click

from segplug.api import Segplug
from segplug.cli import analyze, build_engine, convert_weights, export, infer, pack
from segplug.cli.choice import CHOICE
from segplug.cli.invocation import Invocation
from segplug.cli.output import ConsoleReporter, Output
from segplug.cli.parameters import addon_settings, common_options, given_options, with_declared
from segplug.cli.printing import only_documents
from segplug.cli.source_flags import ModelCommand
from segplug.errors import PluginError
from segplug.installed import Provider

__all__ = ["target_command"]


class _HookCommand(Protocol):
    """A module with the command of one hook."""

    def parameters(self, provider: Provider, /) -> list[click.Parameter]:
        """The arguments and flags that all targets of the hook have."""
        ...

    def example(self, provider: Provider, /) -> str:
        """What follows the name of the command in the example of its help, where the provider names none."""
        ...

    def run(self, call: Invocation, /) -> int:
        """Do the work, print the result, and return the exit code."""
        ...


_COMMANDS: Mapping[str, _HookCommand] = {
    "export": export,
    "pack": pack,
    "build_engine": build_engine,
    "infer": infer,
    "convert_weights": convert_weights,
    "analyze": analyze,
}


def target_command(provider: Provider) -> click.Command:
    """The command of one target: ``segplug <hook> <target>``."""
    entry = provider.entry
    command = _COMMANDS["pack" if provider.packs else entry.hook]
    shared = [*command.parameters(provider), *common_options()]
    owner = f"{entry.hook} {entry.target} ({entry.distribution})"
    flags = Counter(flag for parameter in shared for flag in parameter.opts if flag.startswith("-"))
    taken = [flag for flag, count in flags.items() if count > 1]
    if taken:
        raise PluginError(f"{owner} is broken: it declares a flag of segplug's own: {taken[0]}")

    def callback(**values: Any) -> int:
        click.get_current_context().with_resource(only_documents(values["json"]))
        call = Invocation(
            session=Segplug(reporter=ConsoleReporter(), **addon_settings(values)),
            provider=provider,
            output=Output(as_json=values["json"]),
            values=values,
            own=given_options(values, provider.option_specs),
            choice=click.get_current_context().meta.get(CHOICE, ""),
        )
        return command.run(call)

    return ModelCommand(
        entry.target,
        callback=callback,
        params=with_declared(shared, provider.option_specs, target=entry.target, owner=owner),
        example=provider.attribute("example") or command.example(provider),
        help=provider.help,
        epilog=f"From {entry.distribution} {entry.version}.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
