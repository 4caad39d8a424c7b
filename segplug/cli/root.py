"""The root command, and how errors are printed."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import click

from segplug.cli.given_command import ARGUMENTS
from segplug.cli.printing import print_document, print_line, print_text
from segplug.errors import SegplugError
from segplug.groups import HOOKS
from segplug.limits import why_no_memory
from segplug.regular_files import why_no_path
from segplug.text import printable_line, shortened
from segplug.version import __version__

if TYPE_CHECKING:
    from segplug.installed import Entry

__all__ = ["root", "run_command_line"]

_LONGEST_ERROR = 900
"""Characters of an error on the terminal: it may quote an argument of any length. JSON has the whole text."""


class _LazyRoot(click.Group):
    """The hooks, segplug's own commands, and the commands of plugins; each is imported when it is used."""

    _OWN: ClassVar[dict[str, tuple[str, str]]] = {
        "predict": ("segplug.cli.predict", "Paint images and videos with a model's labels."),
        "info": ("segplug.cli.info", "Tell what a model file is, and what to do with it."),
        "plugins": ("segplug.cli.plugins", "List the installed plugins, and check them."),
    }
    """A command of segplug's own: the module, which has it under the same name, and its line in the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._OWN, *HOOKS, *self._plugin_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._OWN:
            command: click.Command = getattr(import_module(self._OWN[cmd_name][0]), cmd_name)
            return command
        if cmd_name == "run":  # `segplug run export` is `segplug export`
            from segplug.cli.run import run

            return run
        if cmd_name.replace("-", "_") in HOOKS:
            from segplug.cli.run import hook_command

            return hook_command(cmd_name)
        from segplug.options import unknown
        from segplug.registry.loading import load_command

        commands = self._plugin_commands()
        if cmd_name in commands:
            return _around(commands[cmd_name], load_command(commands[cmd_name]))
        raise unknown("command", cmd_name, self.list_commands(ctx), owner="segplug")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # `build-engine` is `build_engine` from here on, in help texts too.
        name, command, rest = super().resolve_command(ctx, args)
        hook = args[0].replace("-", "_")
        return hook if hook in HOOKS else name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from segplug.cli.run import SUMMARIES

        own = [(name, about) for name, (_, about) in self._OWN.items()]
        commands = [
            (name, f"{entry.facts.about} ({entry.distribution})")
            for name, entry in self._plugin_commands().items()
        ]
        with formatter.section("Hooks"):
            formatter.write_dl(list(SUMMARIES.items()))
        with formatter.section("Commands"):
            formatter.write_dl([*own, *commands])

    def _plugin_commands(self) -> dict[str, Entry]:
        """The plugins' commands; none takes the name of another."""
        from segplug.registry.discovery import command_entries

        taken = {*self._OWN, *HOOKS, "run"}
        return {
            entry.target: entry
            for entry in command_entries()
            if entry.target not in taken and entry.target.replace("-", "_") not in taken
        }


def _around(entry: Entry, command: click.Command) -> click.Command:
    """A plugin's command, wrapped by add-ons (the hook ``command``). Its ``ctx.obj`` is its session."""

    def invoke(ctx: click.Context) -> int:
        from segplug.api import Segplug
        from segplug.cli.output import ConsoleReporter
        from segplug.cli.parameters import addon_settings

        def run(session: Segplug) -> int:
            ctx.obj = session
            try:
                return command.invoke(ctx) or 0
            except click.exceptions.Exit as ended:  # how click ends a command early, with its exit code
                return ended.exit_code

        session = Segplug(reporter=ConsoleReporter(), **addon_settings(ctx.params))
        return session.call_command(entry, ctx.params, run)

    wrapped = copy.copy(command)
    wrapped.invoke = invoke  # type: ignore[method-assign]
    return wrapped


@click.command(
    cls=_LazyRoot,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Take a trained semantic-segmentation model to production.\n\n"
        "\b\n"
        "segplug export onnx CONFIG --checkpoint WEIGHTS --output model.onnx --verify\n"
        "segplug predict model.onnx photo.jpg\n"
        "segplug infer model.onnx --dataset CONFIG --eval mIoU\n"
        "segplug plugins list"
    ),
)
@click.version_option(__version__, prog_name="segplug")
def root() -> None:
    """The root command."""


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 the work failed, 2 the command was wrong.

    A user's mistake is one line on stderr; ``--debug`` shows where it was raised. With ``--json``
    the document on stdout then holds the error.
    """
    debug, as_json = "--debug" in arguments, "--json" in arguments
    if "_SEGPLUG_COMPLETE" in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "segplug", "_SEGPLUG_COMPLETE", os.environ["_SEGPLUG_COMPLETE"])
    try:
        os.getcwd()  # without a working folder, libraries fail in their own ways: PyTorch's ends the process
        # Not click's main(): it takes an EOFError of the work for an interrupt, a broken pipe for the end.
        with root.make_context("segplug", list(arguments)) as context:
            context.meta[ARGUMENTS] = tuple(arguments)
            outcome = root.invoke(context)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except SegplugError as error:
        return _failed(str(error), type(error).__name__, error.exit_code, debug, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        # `segplug run` and `segplug export` list what there is.
        print_text(error.ctx.get_help() if error.ctx else "")
        return 0
    except click.ClickException as error:
        usage = getattr(error, "ctx", None)
        where = f" (see {usage.command_path} --help)" if usage else ""
        message = " ".join(error.format_message().split()) + where
        return _failed(message, "UsageError", 2, debug, as_json)
    except KeyboardInterrupt as interrupt:
        message = " ".join(["interrupted", *(f"({how_to_go_on})" for how_to_go_on in interrupt.args)])
        return _failed(message, "KeyboardInterrupt", 130, debug, as_json)
    except FileNotFoundError:
        if _has_working_folder():
            raise
        message = "the working folder has been removed (change to another folder)"
        return _failed(message, "UsageError", 2, debug, as_json)
    except Exception as error:
        path = why_no_path(error)
        if path is not None:
            return _failed(path, "UsageError", 2, debug, as_json)
        reason = why_no_memory(error)
        if reason is None:
            raise
        hint = "smaller images, a smaller --shape or --batch-size need less"
        return _failed(f"{reason} ({hint})", "MemoryError", 1, debug, as_json)


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _failed(message: str, kind: str, code: int, debug: bool, as_json: bool) -> int:
    if debug:
        import traceback

        print_text(traceback.format_exc().rstrip(), to_stderr=True)
    if as_json:
        print_document({"error": {"type": kind, "message": message}})
    print_line(shortened(printable_line(f"error: {message}"), _LONGEST_ERROR), to_stderr=True)
    return code
