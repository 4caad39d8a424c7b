"""``segplug run build_engine`` and ``segplug run convert_weights``: a file in, a file out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from segplug.api import Segplug
from segplug.cli.export import artifact_data, load_model
from segplug.cli.output import Output
from segplug.cli.parameters import GreedyOption, model_options, precision_option
from segplug.registry import Provider

__all__ = ["build_engine", "build_engine_parameters", "convert_weights", "convert_weights_parameters"]


def build_engine_parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every engine builder."""
    from_model = provider.takes == "model"
    return [
        click.Argument(["subject"], metavar="CONFIG" if from_model else "ARTIFACT"),
        *(model_options() if from_model else []),
        click.Option(
            ["--output", "--trt-file", "output"],
            type=click.Path(path_type=Path),
            required=True,
            help="The file to write.",
        ),
        GreedyOption(
            ["--input-img"], metavar="IMAGE", help="Real images, for a builder that calibrates on them."
        ),
        precision_option(),
        click.Option(["--device"], help="Where the engine will run. Default: the target's own."),
        click.Option(["--force"], is_flag=True, help="Replace the output if it is there."),
    ]


def build_engine(
    session: Segplug,
    provider: Provider,
    output: Output,
    values: Mapping[str, Any],
    own: Mapping[str, Any],
) -> int:
    """Build, and say what was written."""
    subject = values["subject"]
    artifact = session.build_engine(
        provider.entry.qualified,
        load_model(session, subject, values) if provider.takes == "model" else subject,
        output=values["output"],
        precision=values["precision"],
        device=values["device"],
        force=values["force"],
        images=values["input_img"],
        **own,
    )
    output.say(f"wrote {artifact.path} ({artifact.size / 1e6:.1f} MB)")
    output.document({"artifact": artifact_data(artifact)})
    return 0


def convert_weights_parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every weight converter."""
    return [
        click.Argument(["source"], metavar="SRC"),
        click.Argument(["destination"], metavar="DST"),
        click.Option(["--force"], is_flag=True, help="Replace DST if it is there."),
    ]


def convert_weights(
    session: Segplug,
    provider: Provider,
    output: Output,
    values: Mapping[str, Any],
    own: Mapping[str, Any],
) -> int:
    """Convert, and show what became of the weights."""
    report = session.convert_weights(
        provider.entry.qualified, values["source"], values["destination"], force=values["force"], **own
    )
    output.tables(report.tables)
    output.notes(report.notes)
    if report.destination is not None:
        output.say(f"wrote {report.destination}")
    output.document({"destination": report.destination and str(report.destination), **report.data})
    return 0
