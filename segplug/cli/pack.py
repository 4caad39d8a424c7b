"""``segplug run export <target>`` where the target packs what is there for a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from segplug.api import Segplug
from segplug.cli.export import artifact_data, load_model
from segplug.cli.output import Output
from segplug.cli.parameters import model_options
from segplug.errors import UsageError
from segplug.registry import Provider

__all__ = ["parameters", "run"]

_MODEL_FLAGS = ("checkpoint", "cfg_options", "source", "trust_checkpoint")


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every exporter that packs."""
    either = provider.takes == "either"
    return [
        click.Argument(["subject"], metavar="CONFIG|ARTIFACT" if either else "ARTIFACT"),
        *(model_options() if either else []),
        click.Option(
            ["--output-folder", "--output", "folder"],
            type=click.Path(path_type=Path),
            required=True,
            help="The server's folder of models.",
        ),
        click.Option(["--force", "-f"], is_flag=True, help="Replace a model of the same name in it."),
    ]


def run(
    session: Segplug,
    provider: Provider,
    output: Output,
    values: Mapping[str, Any],
    own: Mapping[str, Any],
) -> int:
    """Pack, and say what was written."""
    subject: Any = values["subject"]
    if provider.takes == "either" and session.reads_model(subject):
        subject = load_model(session, subject, values)
    elif any(values.get(flag) for flag in _MODEL_FLAGS):
        raise UsageError(
            f"{subject} is packed as it is: --checkpoint and the like go with a config",
            hint=None if provider.takes == "either" else "name an artifact alone",
        )
    artifact = session.pack(
        provider.entry.qualified, subject, folder=values["folder"], force=values["force"], **own
    )
    output.say(f"wrote {artifact.path} ({artifact.size / 1e6:.1f} MB)")
    output.document({"artifact": artifact_data(artifact)})
    return 0
