"""``segplug run export <target> CONFIG``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from segplug.api import Segplug
from segplug.artifact import ensure_free
from segplug.cli.output import Output
from segplug.cli.parameters import GreedyOption, key_values, model_options, precision_option, shape_of
from segplug.cli.verification import print_verification, thresholds_of, tolerance_option
from segplug.model import SegmentationModel
from segplug.registry import Provider
from segplug.requests import Artifact

__all__ = ["artifact_data", "load_model", "parameters", "run"]


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every exporter."""
    return [
        click.Argument(["config"]),
        *model_options(),
        click.Option(
            ["--output", "--output-file", "output"],
            type=click.Path(path_type=Path),
            required=True,
            help="The file to write.",
        ),
        GreedyOption(
            ["--shape"],
            type=click.IntRange(1),
            metavar="H W",
            help="Network input in pixels; one number is a square. Default: the config's.",
        ),
        click.Option(
            ["--dynamic", "--dynamic-export", "dynamic"],
            is_flag=True,
            help="Let batch, height and width vary, as far as the network itself takes it.",
        ),
        GreedyOption(
            ["--input-img"],
            metavar="IMAGE",
            help="Real images: --verify compares on them, an exporter may trace with the first.",
        ),
        click.Option(["--verify"], is_flag=True, help="Compare with PyTorch; exit 1 if it does not hold."),
        tolerance_option(),
        precision_option(),
        click.Option(["--force"], is_flag=True, help="Replace the output if it is there."),
    ]


def load_model(session: Segplug, config: str, values: Mapping[str, Any]) -> SegmentationModel:
    """The model that the shared model flags describe."""
    return session.load_model(
        config,
        checkpoint=values["checkpoint"],
        cfg_options=key_values(values["cfg_options"], flag="--cfg-options"),
        source=values["source"],
        trust_checkpoint=values["trust_checkpoint"],
    )


def run(
    session: Segplug,
    provider: Provider,
    output: Output,
    values: Mapping[str, Any],
    own: Mapping[str, Any],
) -> int:
    """Export, verify if asked, and say what was written."""
    ensure_free(values["output"], force=values["force"])
    model = load_model(session, values["config"], values)
    artifact = session.export(
        provider.entry.qualified,
        model,
        output=values["output"],
        shape=shape_of(values["shape"]),
        dynamic=values["dynamic"],
        precision=values["precision"],
        force=values["force"],
        images=values["input_img"],
        verify=values["verify"],
        thresholds=thresholds_of(values),
        **own,
    )
    verification = artifact.meta.verification
    output.say(f"wrote {artifact.path} ({artifact.size / 1e6:.1f} MB)")
    if verification is not None:
        print_verification(output, verification)
    output.document({"artifact": artifact_data(artifact), "verification": verification})
    return 0 if verification is None or verification["passed"] else 1


def artifact_data(artifact: Artifact) -> dict[str, Any]:
    """An artifact as JSON types."""
    data = asdict(artifact)
    return {**data, "path": str(artifact.path), "meta": artifact.meta.to_dict()}
