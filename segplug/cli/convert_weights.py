"""``segplug convert_weights <target> SRC DST``."""

from __future__ import annotations

import click

from segplug.cli.invocation import Invocation
from segplug.cli.parameters import force_option
from segplug.installed import Provider

__all__ = ["example", "parameters", "run"]


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every weight converter."""
    return [
        click.Argument(["checkpoint"], metavar="SRC"),
        click.Argument(["destination"], metavar="DST"),
        force_option("Replace DST if it exists."),
    ]


def example(provider: Provider) -> str:
    """Convert one file."""
    return "downloaded.pth converted.pth"


def run(call: Invocation) -> int:
    """Convert, and show the report."""
    output, values = call.output, call.values
    report = call.session.convert_weights(
        call.provider, values["checkpoint"], values["destination"], force=values["force"], **call.own
    )
    output.tables(report.tables)
    output.notes(report.notes)
    if report.destination is not None:
        output.say(f"wrote {report.destination}")
    output.document({"destination": report.destination and str(report.destination), **report.data})
    return 0
