"""``segplug run <hook> <target>``: hooks by name, targets from metadata, one provider at a time."""

from __future__ import annotations

from typing import Any

import click

from segplug.cli.listing import write_entries
from segplug.groups import HOOKS, hook_name
from segplug.registry.discovery import entries

__all__ = ["run"]

_SUMMARIES = {
    "export": "Write a model in another format.",
    "build_engine": "Compile an artifact or a model for one device.",
    "infer": "Run an artifact or a model on images: scores, label maps, painted images.",
    "convert_weights": "Convert weights of another repository to the names of the model's framework.",
    "analyze": "Report on a model, an artifact or a training log.",
}


class _Hooks(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(HOOKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        hook = hook_name(cmd_name)
        return _Targets(
            hook,
            name=hook,
            help=f"{_SUMMARIES[hook]}\n\nA target's own options: segplug run {hook} TARGET --help",
            subcommand_metavar="TARGET ...",
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # `build-engine` is `build_engine` from here on, in help texts too.
        _, command, rest = super().resolve_command(ctx, args)
        return command.name if command else None, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Hooks"):
            formatter.write_dl(list(_SUMMARIES.items()))


class _Targets(click.Group):
    """The installed targets of one hook; only the one that is asked for is imported."""

    def __init__(self, hook: str, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.hook = hook

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({entry.target for entry in entries(self.hook)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        from segplug.cli.commands import target_command
        from segplug.registry.registry import Registry

        return target_command(Registry().provider(self.hook, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        installed = entries(self.hook)
        if not installed:
            formatter.write_text("No target is installed. Install a plugin: pip install segplug-...")
            return
        write_entries(formatter, "Targets", installed)


run = _Hooks(
    name="run",
    help="Run a hook with one of its targets.",
    subcommand_metavar="HOOK TARGET ...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
