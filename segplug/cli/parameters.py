"""The flags that commands share, and those made from a provider's declaration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.types import FloatParamType, IntParamType

from segplug.cli.grouped_help import Flag, write_example, write_groups
from segplug.errors import PluginError, UsageError
from segplug.limits import MOST_THREADS, why_no_input
from segplug.options import OptionSpec
from segplug.text import counted

__all__ = [
    "FiniteNumber",
    "FiniteRange",
    "Flag",
    "GreedyCommand",
    "GreedyOption",
    "WholeNumber",
    "WholeRange",
    "addon_settings",
    "bands_option",
    "common_options",
    "force_option",
    "given_options",
    "key_values",
    "on_error_option",
    "option_from_spec",
    "shape_of",
    "threads_option",
    "with_declared",
]


class GreedyOption(Flag):
    """An option that takes all the values up to the next option, as in mmseg's tools.

    Args:
        names: The flags.
        group: As for :class:`Flag`.
        key_values: Take ``KEY=VALUE`` only: what has no ``=`` is an argument again.
        **attributes: Those of click's options.
    """

    def __init__(
        self, names: Sequence[str], *, group: str, key_values: bool = False, **attributes: Any
    ) -> None:
        super().__init__(names, group=group, multiple=True, **attributes)
        self.key_values = key_values

    def make_metavar(self, ctx: click.Context) -> str:
        return f"{super().make_metavar(ctx)} ..."


class GreedyCommand(click.Command):
    """A command that understands :class:`GreedyOption`: ``--eval a b`` is ``--eval a --eval b``.

    Its help lists the flags by their groups.

    Args:
        example: What follows the command's name in the example of its help; empty: no example.
        **attributes: Those of click's commands.
    """

    def __init__(self, name: str, *, example: str = "", **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.example = example

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        if self.example:
            write_example(formatter, f"{ctx.command_path} {self.example}")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_groups(formatter, self.get_params(ctx), ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _refuse_empty(args)
        return super().parse_args(ctx, list(self.spread(ctx, args)))

    def spread(self, ctx: click.Context, args: Sequence[str]) -> Iterator[str]:
        """The arguments as click takes them: with a flag before each value of a :class:`GreedyOption`."""
        options = [option for option in self.get_params(ctx) if isinstance(option, GreedyOption)]
        greedy = {name: option for option in options for name in option.opts if name.startswith("-")}
        return _spread(args, greedy)


def bands_option(what: str) -> click.Option:
    """``--bands``; ``what`` shows them."""
    return GreedyOption(
        ["--bands"],
        group="output",
        type=WholeRange(1),
        metavar="N",
        help=f"The channels that {what}, numbered from 1 as in the file: one (grey) or three (red, green, "
        "blue). Default: the first three; of one or two channels the first.",
    )


def on_error_option(what: str) -> click.Option:
    """``--on-error``; ``what`` may be unreadable."""
    return Flag(
        ["--on-error"],
        group="run",
        type=click.Choice(["stop", "skip"]),
        default="stop",
        show_default=True,
        help=f"At an unreadable {what}, stop, or skip it and list it at the end.",
    )


def threads_option() -> click.Option:
    """``--threads``."""
    return Flag(
        ["--threads"],
        group="backend",
        type=WholeRange(1, MOST_THREADS),
        metavar="N",
        help="CPU threads of one engine run. Default: the library's own.",
    )


def _spread(args: Sequence[str], greedy: Mapping[str, GreedyOption]) -> Iterator[str]:
    """Repeat a greedy flag before each of its values; ``--`` ends all options."""
    flag: str | None = None
    used = True
    for position, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if flag is not None and not used and (arg == "--" or _is_flag(arg)):
            raise _without_value(greedy[flag])
        if arg == "--":
            yield from args[position:]
            return
        if name in greedy:
            flag, used = name, bool(equals)
            if equals:
                yield from (name, value)
        elif _is_flag(arg):
            flag, used = None, True
            yield arg
        elif flag is not None and (equals or not greedy[flag].key_values):
            used = True
            yield from (flag, arg)
        else:
            flag = None if used else flag
            yield arg
    if flag is not None and not used:
        raise _without_value(greedy[flag])


def _refuse_empty(args: Sequence[str]) -> None:
    """An empty argument is most often an unset variable of a script: as a path, it would mean this folder."""
    flag = ""
    for arg in args:
        name, equals, value = arg.partition("=")
        if not arg or (equals and not value and _is_flag(name)):
            where = f"the value of {name or flag}" if name or flag else "an argument"
            raise click.UsageError(f"{where} is empty: name a value, or leave it out.")
        flag = name if _is_flag(arg) else ""


def _without_value(option: GreedyOption) -> click.BadOptionUsage:
    wanted = "KEY=VALUE" if option.key_values else "an argument"
    return click.BadOptionUsage(option.opts[0], f"Option '{option.opts[0]}' requires {wanted}.")


def _is_flag(arg: str) -> bool:
    return arg.startswith("-") and not arg.lstrip("-").replace(".", "", 1).replace("e-", "", 1).isdigit()


class WholeRange(click.IntRange):
    """A range of whole numbers of 64 bits; click takes longer ones, which no library does."""

    name = "integer"  # "'x' is not a valid integer", in place of click's "not a valid integer range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _whole_number(super().convert(value, param, ctx), self, param, ctx)


class FiniteRange(click.FloatRange):
    """A range of finite numbers; click takes NaN for a number of any range."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _finite_number(super().convert(value, param, ctx), self, param, ctx)


class WholeNumber(IntParamType):
    """A whole number of 64 bits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _whole_number(super().convert(value, param, ctx), self, param, ctx)


class FiniteNumber(FloatParamType):
    """A finite number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _finite_number(super().convert(value, param, ctx), self, param, ctx)


def _whole_number(
    number: Any, kind: click.ParamType[Any], param: click.Parameter | None, ctx: click.Context | None
) -> Any:
    if not -(2**63) <= number < 2**63:
        kind.fail("the number does not fit into 64 bits.", param, ctx)
    return number


def _finite_number(
    number: Any, kind: click.ParamType[Any], param: click.Parameter | None, ctx: click.Context | None
) -> Any:
    if not math.isfinite(number):
        kind.fail(f"'{number}' is not a finite number.", param, ctx)
    return number


def common_options() -> list[click.Parameter]:
    """The flags of every target's command."""
    return [
        Flag(
            ["--no-addon"],
            group="run",
            multiple=True,
            metavar="NAME",
            help="Do not use this add-on; for debugging.",
        ),
        GreedyOption(
            ["--addon-options"],
            group="run",
            metavar="NAME.KEY=VALUE",
            help="Options of add-ons (segplug plugins show NAME).",
        ),
        Flag(
            ["--json"],
            group="run",
            is_flag=True,
            help="Print one JSON document on stdout; everything else goes to stderr.",
        ),
        Flag(["--debug"], group="run", is_flag=True, help="Show the traceback of an error."),
    ]


def force_option(help: str, *names: str) -> click.Option:
    """``--force``, for commands that write."""
    return Flag(["--force", *names], group="output", is_flag=True, help=help)


def option_from_spec(spec: OptionSpec, *, group: str) -> click.Option:
    """A flag for one declared option. Its value is ``None`` (or empty) when it is not given.

    Args:
        spec: The declaration.
        group: As for :class:`Flag`.
    """
    names = [spec.flag, *spec.aliases, spec.name]
    shown = "" if spec.default in (None, False, ()) else f"  [default: {_spelled(spec.default)}]"
    help_text = spec.help + shown
    if spec.type is bool and spec.arity == 1:
        if spec.default:
            switches = [f"{name}/--no-{name[2:]}" for name in (spec.flag, *spec.aliases)]
            return Flag([*switches, spec.name], group=group, default=None, help=help_text)
        return Flag(names, group=group, is_flag=True, default=None, help=help_text)
    kind = _click_type(spec)
    if spec.mapping:
        metavar = spec.metavar or "KEY=VALUE"
        return GreedyOption(names, group=group, key_values=True, metavar=metavar, help=help_text)
    if spec.arity is None:
        return GreedyOption(names, group=group, type=kind, metavar=spec.metavar, help=help_text)
    numbers = " ".join(["N"] * spec.arity) if spec.type in (int, float) else None
    return Flag(
        names,
        group=group,
        type=kind,
        nargs=spec.arity,
        default=None,
        metavar=spec.metavar or numbers,
        help=help_text,
    )


def _spelled(default: Any) -> str:
    return " ".join(str(item) for item in default) if isinstance(default, tuple) else str(default)


def _click_type(spec: OptionSpec) -> click.ParamType[Any]:
    if spec.choices:
        return click.Choice(list(spec.choices))
    bounded = spec.minimum is not None or spec.maximum is not None
    if spec.type is int:
        return WholeRange(_whole(spec.minimum), _whole(spec.maximum)) if bounded else WholeNumber()
    if spec.type is float:
        return FiniteRange(spec.minimum, spec.maximum) if bounded else FiniteNumber()
    return click.Path(path_type=Path) if spec.type is Path else click.STRING


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


def with_declared(
    shared: Sequence[click.Parameter], specs: Iterable[OptionSpec], *, target: str, owner: str
) -> list[click.Parameter]:
    """Shared parameters first, then the provider's own.

    Args:
        shared: Parameters of segplug, with :func:`common_options` last.
        specs: The provider's own options.
        target: The provider's name, above its options in the help.
        owner: The provider in words, for messages.

    Raises:
        PluginError: a declared option has the name or flag of a shared one.
    """
    taken = {name for parameter in shared for name in (parameter.name, *parameter.opts)}
    declared = []
    for spec in specs:
        clash = taken & {spec.name, spec.flag, *spec.aliases}
        if clash:
            names = ", ".join(sorted(clash))
            raise PluginError(f"{owner} declares an option that segplug has itself: {names}")
        declared.append(option_from_spec(spec, group=target))
    return [*shared[: -len(common_options())], *declared, *shared[-len(common_options()) :]]


def key_values(pairs: Iterable[str] | Mapping[str, Any], *, flag: str) -> dict[str, Any]:
    """``KEY=VALUE`` strings as a mapping; raises :class:`UsageError` for one without ``=``.

    A mapping stays as it is.
    """
    if isinstance(pairs, Mapping):
        return dict(pairs)
    result = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"{flag}: '{pair}' is not KEY=VALUE")
        result[key] = value
    return result


def addon_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :class:`segplug.Segplug` that the flags about add-ons mean.

    A command without these flags has no add-ons left out and no options for them.

    Raises:
        UsageError: a value of ``--addon-options`` is not ``NAME.KEY=VALUE``.
    """
    options: dict[str, dict[str, Any]] = {}
    for key, value in key_values(values.get("addon_options") or (), flag="--addon-options").items():
        name, dot, keyword = key.rpartition(".")
        if not dot or not name or not keyword:
            raise UsageError(f"--addon-options: '{key}={value}' is not NAME.KEY=VALUE")
        options.setdefault(name, {})[keyword] = value
    return {"without_addons": values.get("no_addon") or (), "addon_options": options}


def shape_of(values: Sequence[int]) -> tuple[int, int] | None:
    """``--shape 512`` (square) or ``--shape 512 1024`` (height, width); ``None`` if not given."""
    if not values:
        return None
    if len(values) > 2:
        raise UsageError(f"--shape takes height and width, not {counted(len(values), 'number')}")
    if reason := why_no_input((values[0], values[-1]), channels=1):
        raise UsageError(f"--shape: {reason}")
    return values[0], values[-1]


def given_options(values: Mapping[str, Any], specs: Iterable[OptionSpec]) -> dict[str, Any]:
    """The provider's own options that were given on the command line."""
    chosen = {spec.name: values[spec.name] for spec in specs}
    return {name: value for name, value in chosen.items() if value is not None and value != ()}
