"""Add-ons wrap the commands of plugins: they see the parameters and the exit code, and can refuse."""

from __future__ import annotations

import pytest

from segplug.cli.root import run_command_line
from tests.registry.support import IMPORTS, RULE_GROUPS, seen

GREET = """
import click

from segplug.errors import DatasetError

@click.command()
@click.argument("name")
@click.option("--times", type=int, default=1)
@click.option("--ending", type=click.Choice(["code", "exit", "none", "error", "text"]), default="code")
@click.pass_context
def greet(ctx, name, times, ending):
    '''Greets somebody.'''
    click.echo(f"hello {name} " * times)
    if ending == "exit":
        ctx.exit(4)
    if ending == "error":
        raise DatasetError("nobody is there")
    return {"code": 3, "none": None, "text": "three"}[ending]
"""

WATCH = (
    IMPORTS
    + """
SEEN = []

class Watch(AddOn[NoOptions]):
    '''Watches commands.'''
    hook_versions = {"command": 2}

    @hookimpl(wrapper=True)
    def command(self, request):
        if request.parameters.get("name") == "nobody":
            raise RefusedError("nobody is greeted")
        code = yield
        SEEN.append((request.call, request.parameters, code))
        return code

provider = Watch()
"""
)


def test_a_wrapper_of_command_sees_the_parameters_and_the_exit_code(install_plugin) -> None:
    install_plugin("acme", {"segplug.command": {"greet": "acme:greet"}}, acme=GREET)
    install_plugin("rules", RULE_GROUPS, rules=WATCH)
    assert run_command_line(["greet", "you", "--times", "2"]) == 3
    ((call, parameters, code),) = seen()
    assert (call.hook, call.target, call.distribution) == ("command", "greet", "acme")
    assert parameters == {"name": "you", "times": 2, "ending": "code"}
    assert code == 3


@pytest.mark.parametrize(("ending", "code"), [("code", 3), ("none", 0), ("exit", 4), ("error", 1)])
def test_a_command_ends_as_it_would_without_add_ons(install_plugin, ending, code) -> None:
    install_plugin("acme", {"segplug.command": {"greet": "acme:greet"}}, acme=GREET)
    assert run_command_line(["greet", "you", "--ending", ending]) == code
    install_plugin("rules", RULE_GROUPS, rules=WATCH)
    assert run_command_line(["greet", "you", "--ending", ending]) == code


def test_a_wrapper_of_command_can_refuse_it(install_plugin, capsys) -> None:
    install_plugin("acme", {"segplug.command": {"greet": "acme:greet"}}, acme=GREET)
    install_plugin("rules", RULE_GROUPS, rules=WATCH)
    assert run_command_line(["greet", "nobody"]) == 1
    assert capsys.readouterr() == ("", "error: nobody is greeted\n")


def test_a_command_that_gives_no_exit_code_is_blamed(install_plugin, refused) -> None:
    install_plugin("acme", {"segplug.command": {"greet": "acme:greet"}}, acme=GREET)
    line = refused(1, "greet", "you", "--ending", "text")
    assert line == "command greet (acme 1.0) returned str where the hook 'command' promises int"
