"""``segplug export <target> CONFIG``."""

from __future__ import annotations

import click

from segplug.api.early import check_checkpoint, check_making, least_weights
from segplug.cli.artifacts import (
    artifact_options,
    precision_of,
    report_artifact,
    report_verification,
    report_written,
    thresholds_of,
)
from segplug.cli.invocation import Invocation
from segplug.cli.model import load_model, model_options
from segplug.cli.parameters import Flag, GreedyOption, WholeRange, shape_of
from segplug.installed import Provider

__all__ = ["example", "parameters", "run"]


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every exporter."""
    return [
        click.Argument(["config"]),
        *model_options(),
        GreedyOption(
            ["--shape"],
            group="output",
            type=WholeRange(1),
            metavar="H W",
            help="Network input in pixels; one number is a square. Default: the config's.",
        ),
        Flag(
            ["--dynamic", "--dynamic-export", "dynamic"],
            group="output",
            is_flag=True,
            help="Let batch, height and width vary, as far as the network allows it.",
        ),
        *artifact_options(
            provider,
            images="Real images: --verify compares on them, an exporter may trace with the first.",
            verify="Compare with PyTorch; exit with 1 if the comparison fails.",
        ),
    ]


def example(provider: Provider) -> str:
    """Export a config with its weights, and verify."""
    verify = " --verify" if provider.entry.facts.verify_with else ""
    return f"CONFIG.py --checkpoint WEIGHTS.pth --output model{provider.entry.facts.suffix}{verify}"


def run(call: Invocation) -> int:
    """Export, verify if asked, and report what was written."""
    output, values = call.output, call.values
    precision = precision_of(call.provider, values)
    thresholds = thresholds_of(values, precision)
    shape = shape_of(values["shape"])
    # Before the model is loaded, which takes a while.
    check_checkpoint(values["checkpoint"])
    check_making(
        call.session.registry,
        call.provider,
        output=values["output"],
        inputs=[values["config"], values["checkpoint"]],
        precision=precision,
        images=values["input_img"],
        verify=values["verify"],
        force=values["force"],
        options=call.own,
        weights=least_weights(values["checkpoint"]),
    )
    artifact = call.session.export(
        call.provider,
        load_model(call.session, values["config"], values),
        output=values["output"],
        shape=shape,
        dynamic=values["dynamic"],
        precision=precision,
        force=values["force"],
        images=values["input_img"],
        verify=values["verify"],
        thresholds=thresholds,
        **call.own,
    )
    report_written(output, artifact)
    report_verification(output, artifact)
    return report_artifact(output, artifact, verify=values["verify"])
