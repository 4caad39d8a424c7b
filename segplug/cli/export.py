"""``segplug run export <target> CONFIG``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from segplug.api import Segplug
from segplug.artifact import ensure_free
from segplug.cli.output import Output
from segplug.cli.parameters import GreedyOption, key_values, model_options, precision_option, shape_of
from segplug.model import SegmentationModel
from segplug.registry import Provider
from segplug.requests import Artifact, Table
from segplug.verify import Thresholds, thresholds_for

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
        click.Option(
            ["--tolerance"],
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            help="Largest logit difference that --verify allows, as a share of the logits' range.",
        ),
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
        thresholds=_thresholds(values),
        **own,
    )
    verification = artifact.meta.verification
    output.say(f"wrote {artifact.path} ({artifact.size / 1e6:.1f} MB)")
    if verification is not None:
        _print_verification(output, verification)
    output.document({"artifact": artifact_data(artifact), "verification": verification})
    return 0 if verification is None or verification["passed"] else 1


def _thresholds(values: Mapping[str, Any]) -> Thresholds | None:
    if values["tolerance"] is None:
        return None
    return replace(thresholds_for(values["precision"]), logits=values["tolerance"])


def artifact_data(artifact: Artifact) -> dict[str, Any]:
    """An artifact as JSON types."""
    data = asdict(artifact)
    return {**data, "path": str(artifact.path), "meta": artifact.meta.to_dict()}


def _print_verification(output: Output, found: Mapping[str, Any]) -> None:
    rows: list[tuple[str, Any]] = [("inputs compared", len(found["inputs"]))]
    if found["logits_compared"]:
        rows += [
            ("largest logit difference", f"{found['max_logit_difference']:.3e}"),
            ("mean logit difference", f"{found['mean_logit_difference']:.3e}"),
            ("largest, as a share of the range", f"{found['relative_difference']:.3e}"),
        ]
    rows += [
        ("label agreement", f"{found['label_agreement']:.6f}"),
        ("label agreement away from near-ties", f"{found['firm_agreement']:.6f}"),
        ("near-ties", f"{found['near_ties']:.6f}"),
        ("mIoU between the two", f"{found['miou']:.6f}"),
        ("worst input", _worst(found)),
    ]
    if found["unsteady"]:
        rows.append(("left out, as rounding moves PyTorch there", f"{found['unsteady']:.6f}"))
    output.table(Table("Compared with PyTorch", ("what", "value"), tuple(rows)))
    output.say("verified: it computes what PyTorch computes" if found["passed"] else "NOT VERIFIED:")
    for failure in found["failures"]:
        output.say(f"  {failure}")


def _worst(found: Mapping[str, Any]) -> str:
    if found["worst_pixel"] is None:
        return "none"
    row, column = found["worst_pixel"]
    return f"{found['worst_input']}, at row {row}, column {column}"
