"""The model that a command works on: the flags that describe it, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from segplug.api import Segplug
from segplug.cli.parameters import Flag, GreedyOption, key_values
from segplug.model import SegmentationModel
from segplug.options import as_keywords

__all__ = [
    "MODEL_FLAGS",
    "allow_nonfinite_option",
    "cfg_options_option",
    "load_model",
    "model_options",
    "trust_artifact_option",
    "tta_option",
]

MODEL_FLAGS = (
    "checkpoint",
    "cfg_options",
    "source",
    "trust_checkpoint",
    "allow_nonfinite",
    "approximate",
    "source_options",
)
"""The parameters of :func:`model_options` that only a model has, and no artifact."""


def cfg_options_option() -> click.Option:
    """The flag that overrides settings of a config."""
    return GreedyOption(
        ["--cfg-options"],
        group="model",
        key_values=True,
        metavar="KEY=VALUE",
        help='Override settings of the config, as in mmseg: key="[a,b]", key=a,b, key="a b".',
    )


def allow_nonfinite_option(*, scores: bool) -> click.Option:
    """The flag that allows NaN and infinity in weights, and in ``scores`` where the command makes labels."""
    what = "weights or scores" if scores else "weights"
    label = " Pixels with such scores get the ignored label." if scores else ""
    return Flag(
        ["--allow-nonfinite"],
        group="model",
        is_flag=True,
        help=f"Go on if {what} are NaN or infinite, in place of an error.{label}",
    )


def model_options(*, scores: bool = False) -> list[click.Parameter]:
    """The flags of every command that loads a model; ``scores``: it also allows those that are not finite."""
    return [
        Flag(
            ["--checkpoint"],
            group="model",
            metavar="FILE",
            help="The file of weights. Default: those in the model's folder; of a config, random weights.",
        ),
        cfg_options_option(),
        Flag(
            ["--source"],
            group="model",
            metavar="NAME",
            help="The source that loads the model, if several can.",
        ),
        Flag(
            ["--trust-checkpoint"],
            group="model",
            is_flag=True,
            help="Load a checkpoint that holds more than plain data. It can run code.",
        ),
        trust_artifact_option(),
        allow_nonfinite_option(scores=scores),
        Flag(
            ["--approximate"],
            group="model",
            is_flag=True,
            help="Leave out preprocessing that cannot be done exactly, in place of an error. Metadata and "
            "reports list it.",
        ),
        GreedyOption(
            ["--source-options"],
            group="model",
            key_values=True,
            metavar="KEY=VALUE",
            help="Options of the model's source (segplug plugins show NAME). After a location such as "
            "python:nets:UNet, or with --source, each is a flag of its own, too.",
        ),
    ]


def tta_option() -> click.Option:
    """``--tta`` and ``--no-tta``, of the commands that run a model's test-time augmentation."""
    return Flag(
        ["--tta/--no-tta"],
        group="model",
        default=None,
        help="Run the model's test-time augmentation, or leave it out. Default: it runs if the model's test "
        "pipeline has it (mmsegmentation 0.x), and not if it is apart (the tta_pipeline of 1.x).",
    )


def trust_artifact_option() -> click.Option:
    """The flag of every command that opens an artifact."""
    return Flag(
        ["--trust-artifact"],
        group="model",
        is_flag=True,
        help="Open an artifact that is a program without checking it. It can run code.",
    )


def load_model(session: Segplug, config: str, values: Mapping[str, Any]) -> SegmentationModel:
    """The model that the flags of :func:`model_options` describe."""
    options = key_values(values["source_options"], flag="--source-options")
    return session.load_model(
        config,
        checkpoint=values["checkpoint"],
        cfg_options=key_values(values["cfg_options"], flag="--cfg-options"),
        source=values["source"],
        trust_checkpoint=values["trust_checkpoint"],
        trust_artifact=values["trust_artifact"],
        allow_nonfinite=values["allow_nonfinite"],
        approximate=values["approximate"],
        **as_keywords(options, session.load_model, flag="--source-options"),
    )
