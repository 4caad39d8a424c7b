"""``segplug export <target>`` where the target packs an artifact or a config for a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segplug.api.early import check_packing
from segplug.cli.artifacts import report_artifact, report_written
from segplug.cli.invocation import Invocation
from segplug.cli.model import MODEL_FLAGS, load_model, model_options, trust_artifact_option
from segplug.cli.parameters import Flag, force_option
from segplug.errors import UsageError
from segplug.installed import Provider

__all__ = ["example", "parameters", "run"]


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every exporter that packs."""
    either = provider.takes == "either"
    return [
        click.Argument(["subject"], metavar="CONFIG|ARTIFACT" if either else "ARTIFACT"),
        *(model_options() if either else [trust_artifact_option()]),
        Flag(
            ["--output-folder", "--output", "folder"],
            group="output",
            type=click.Path(path_type=Path),
            required=True,
            help="The server's folder of models.",
        ),
        force_option("Replace a model of the same name in it.", "-f"),
    ]


def example(provider: Provider) -> str:
    """Pack an ONNX file, which every server's plugin reads."""
    return "model.onnx --output-folder models"


def run(call: Invocation) -> int:
    """Pack, and report what was written."""
    output, values = call.output, call.values
    subject: Any = values["subject"]
    if call.provider.takes == "either" and call.session.reads_model(subject):
        check_packing(call.provider, folder=values["folder"], options=call.own, copied=values["checkpoint"])
        subject = load_model(call.session, subject, values)
    elif any(values.get(flag) for flag in MODEL_FLAGS):
        raise UsageError(
            f"{subject} is packed as it is: --checkpoint and similar flags are for a config",
            hint=None if call.provider.takes == "either" else "name an artifact alone",
        )
    artifact = call.session.pack(
        call.provider,
        subject,
        folder=values["folder"],
        force=values["force"],
        trust_artifact=values["trust_artifact"],
        **call.own,
    )
    report_written(output, artifact)
    return report_artifact(output, artifact)
