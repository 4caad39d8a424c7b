"""``segplug run analyze <target> SUBJECT...``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from segplug.api import Segplug
from segplug.cli.output import Output
from segplug.registry import Provider

__all__ = ["parameters", "run"]


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments of every report."""
    return [click.Argument(["subjects"], metavar="SUBJECT...", nargs=-1, required=True)]


def run(
    session: Segplug,
    provider: Provider,
    output: Output,
    values: Mapping[str, Any],
    own: Mapping[str, Any],
) -> int:
    """Analyse, and show the report."""
    report = session.analyze(provider.entry.qualified, *values["subjects"], **own)
    output.say(report.title)
    output.tables(report.tables)
    output.document(report.data)
    return 0
