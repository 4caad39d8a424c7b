"""One command for each hook, completed with the options that the chosen provider declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from segplug.api import Segplug
from segplug.cli import analyze, build_engine, convert_weights, export, infer, pack
from segplug.cli.output import ConsoleReporter, Output
from segplug.cli.parameters import common_options, given_options, with_declared
from segplug.cli.source_flags import ModelCommand
from segplug.installed import Provider

__all__ = ["target_command"]

_PARAMETERS: Mapping[str, Callable[[Provider], list[click.Parameter]]] = {
    "export": export.parameters,
    "pack": pack.parameters,
    "build_engine": build_engine.parameters,
    "infer": infer.parameters,
    "convert_weights": convert_weights.parameters,
    "analyze": analyze.parameters,
}

Run = Callable[[Segplug, Provider, Output, Mapping[str, Any], Mapping[str, Any]], int]

_RUNS: Mapping[str, Run] = {
    "export": export.run,
    "pack": pack.run,
    "build_engine": build_engine.run,
    "infer": infer.run,
    "convert_weights": convert_weights.run,
    "analyze": analyze.run,
}


def target_command(provider: Provider) -> click.Command:
    """The command of one target: ``segplug run <hook> <target>``."""
    entry = provider.entry
    kind = "pack" if provider.packs else entry.hook
    shared = [*_PARAMETERS[kind](provider), *common_options()]
    owner = f"{entry.hook} {entry.target} ({entry.distribution})"

    def callback(**values: Any) -> int:
        session = Segplug(reporter=ConsoleReporter(), without_addons=values["no_addon"])
        output = Output(as_json=values["json"])
        own = given_options(values, provider.option_specs)
        return _RUNS[kind](session, provider, output, values, own)

    return ModelCommand(
        entry.target,
        callback=callback,
        params=with_declared(shared, provider.option_specs, owner=owner),
        help=provider.help,
        epilog=f"From {entry.distribution} {entry.version}.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
