"""``segplug run <hook> <target>``: hooks by name, targets from metadata, one provider at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from segplug.cli.choice import CHOICE, choice_line
from segplug.cli.listing import write_entries
from segplug.errors import UsageError
from segplug.groups import HOOKS, hook_name
from segplug.locations import has_scheme
from segplug.registry.discovery import entries

__all__ = ["SUMMARIES", "hook_command", "run"]

SUMMARIES = {
    "export": "Write a model in another format.",
    "build_engine": "Compile an artifact or a model for one device.",
    "infer": "Run an artifact or a model on images: scores, label maps, painted images.",
    "convert_weights": "Convert weights of another repository to the names of the model's framework.",
    "analyze": "Report on a model, an artifact or a training log.",
}
"""One line on each hook."""


def hook_command(word: str) -> click.Group:
    """The command of a hook, from a user's spelling; :class:`UsageError` if there is no such hook."""
    hook = hook_name(word)
    kind = _Backends if hook == "infer" else _Targets
    return kind(
        hook,
        name=hook,
        help=SUMMARIES[hook],
        subcommand_metavar="[TARGET] MODEL ..." if hook == "infer" else "TARGET ...",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class _Hooks(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(HOOKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        return hook_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # `build-engine` is `build_engine` from here on, in help texts too.
        _, command, rest = super().resolve_command(ctx, args)
        return command.name if command else None, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Hooks"):
            formatter.write_dl(list(SUMMARIES.items()))


class _Targets(click.Group):
    """The installed targets of one hook; only the one that is asked for is imported."""

    def __init__(self, hook: str, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.hook = hook

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            words = self.subcommand_metavar.removesuffix(" ...")
            raise UsageError(
                f"{ctx.command_path} itself has no option {error.option_name}",
                hint=f"flags come last: {ctx.command_path} {words} {error.option_name} ...",
            ) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({entry.target for entry in entries(self.hook)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        from segplug.cli.commands import target_command
        from segplug.registry.registry import Registry

        return target_command(Registry().provider(self.hook, cmd_name))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"A target's own options: {ctx.command_path} TARGET --help")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        installed = entries(self.hook)
        if not installed:
            formatter.write_text("No target is installed. Install a plugin: pip install segplug-...")
            return
        write_entries(formatter, "Targets", installed)


class _Backends(_Targets):
    """The targets of ``infer``. A model may stand in their place: then the file decides."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(
                "Without a target, the model's name says it, and also the options: "
                f"{ctx.command_path} model.onnx --help"
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from segplug.cli.commands import target_command
        from segplug.registry.formats import default_backend
        from segplug.registry.registry import Registry

        word = args[0]
        names = {name for entry in entries(self.hook) for name in (entry.target, entry.qualified)}
        if word in names:
            _refuse_images(args[1:])
            if os.path.lexists(word):
                ctx.meta[CHOICE] = f"{word} is a backend here; the file of this name is ./{word}"
            return super().resolve_command(ctx, args)
        if not _is_location(word):
            return super().resolve_command(ctx, args)
        _refuse_images(args)
        backend, others = default_backend(Registry(), word)
        ctx.meta[CHOICE] = choice_line(backend, others)
        return backend.entry.name, target_command(backend), args


def _refuse_images(words: Sequence[str]) -> None:
    """Refuse a second word before all flags: it is taken for an image, as of ``segplug predict``."""
    if len(words) > 1 and not any(word.startswith("-") for word in words[:2]):
        raise UsageError(
            f"infer takes one model, and {words[1]} stands behind it without a flag",
            hint="images are given with --input-img; segplug predict MODEL IMAGE paints them",
        )


def _is_location(word: str) -> bool:
    """Whether a word that is no target is a file, a folder or a location such as ``python:net:f``."""
    return os.path.lexists(word) or "." in word or os.sep in word or has_scheme(word)


run = _Hooks(
    name="run",
    help="Run a hook with one of its targets.",
    subcommand_metavar="HOOK TARGET ...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
