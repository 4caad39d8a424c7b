"""Help texts: flags by groups, and an example that the command takes."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from segplug.cli.commands import target_command
from segplug.cli.grouped_help import Flag
from segplug.cli.parameters import GreedyCommand, GreedyOption
from segplug.cli.root import root
from segplug.installed import Entry
from segplug.registry.discovery import command_entries, entries
from segplug.registry.registry import Registry

HOOKS = ("export", "build_engine", "infer", "convert_weights", "analyze")
TARGETS = [entry for hook in HOOKS for entry in entries(hook)]


def help_of(command: click.Command, width: int) -> str:
    with click.Context(command, info_name=command.name, terminal_width=width) as context:
        return command.get_help(context)


def sections_of(text: str) -> dict[str, list[str]]:
    """Heading to the flags below it."""
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            sections[line[:-1]] = []
        elif line.startswith("  -") and sections:
            list(sections.values())[-1].append(re.search(r"--[\w-]+", line)[0])
    return sections


@pytest.mark.parametrize("entry", TARGETS, ids=lambda entry: f"{entry.hook} {entry.target}")
def test_every_target_has_an_example_that_it_takes(entry: Entry) -> None:
    command = target_command(Registry().load(entry))
    text = help_of(command, width=80)
    example = text.split("Example:\n")[1].split("\n\n")[0].replace("\\\n", " ")
    words = shlex.split(example)
    assert words[0] == entry.target
    given = command.make_context(entry.target, words[1:], terminal_width=80).params
    assert any(given[parameter.name] for parameter in command.params)


@pytest.mark.parametrize("entry", TARGETS, ids=lambda entry: f"{entry.hook} {entry.target}")
def test_flags_are_under_their_groups(entry: Entry) -> None:
    command = target_command(Registry().load(entry))
    text = help_of(command, width=80)
    assert max(map(len, text.splitlines())) <= 80
    sections = sections_of(text)
    own = f"Options of {entry.target}"
    assert set(sections) <= {"Example", "Model", "Data", "Output", own, "Backend", "Run"}
    listed = sorted(flag for flags in sections.values() for flag in flags)
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert listed == sorted(["--help", *(option.opts[0] for option in options)])


def test_a_command_of_a_plugin_has_groups_too() -> None:
    (serve,) = (entry for entry in command_entries() if entry.target == "serve")
    command = root.get_command(click.Context(root), serve.target)
    sections = sections_of(help_of(command, width=80))
    assert list(sections) == ["Example", "Model", "Output", "Options of serve", "Backend", "Run"]


def test_groups_have_one_order_and_plain_options_a_place() -> None:
    command = GreedyCommand(
        "paint",
        example="photo.jpg --colour red green",
        params=[
            Flag(["--wait"], group="run", is_flag=True),
            click.Option(["--plain"]),
            Flag(["--brush"], group="paint"),
            GreedyOption(["--colour"], group="output"),
            Flag(["--weights"], group="model"),
        ],
    )
    assert sections_of(help_of(command, width=80)) == {
        "Example": [],
        "Model": ["--weights"],
        "Output": ["--colour"],
        "Options": ["--plain"],
        "Options of paint": ["--brush"],
        "Run": ["--wait", "--help"],
    }
    narrow = help_of(command, width=30)
    assert "  paint photo.jpg \\\n      --colour red green\n" in narrow
