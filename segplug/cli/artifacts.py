"""The flags of an artifact and its report, which ``export`` and ``build_engine`` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from segplug.cli.output import Output
from segplug.cli.parameters import FiniteRange, Flag, GreedyOption, force_option
from segplug.comparison import Thresholds
from segplug.errors import UsageError
from segplug.installed import Provider
from segplug.results import Artifact, Precision, Table
from segplug.text import in_bytes
from segplug.verification.compare import thresholds_for

__all__ = [
    "artifact_data",
    "artifact_options",
    "precision_of",
    "report_artifact",
    "report_verification",
    "report_written",
    "thresholds_of",
]

_NAMED = 5
"""How many inputs of a comparison are listed."""


def artifact_options(maker: Provider, *, images: str, verify: str) -> list[click.Parameter]:
    """The flags of a command that writes an artifact and may verify it.

    Args:
        maker: The exporter or engine builder, which says its precisions and the flags of older tools.
        images: What ``--input-img`` is used for.
        verify: What ``--verify`` does.
    """
    precisions = maker.attribute("precisions")
    return [
        Flag(
            ["--output", *maker.attribute("output_flags"), "output"],
            group="output",
            type=click.Path(path_type=Path),
            required=True,
            help="The file to write.",
        ),
        GreedyOption(["--input-img"], group="data", metavar="IMAGE", help=images),
        Flag(["--verify"], group="run", is_flag=True, help=verify),
        Flag(
            ["--tolerance"],
            group="run",
            type=FiniteRange(0, 1),
            metavar="SHARE",
            help="Largest logit difference that --verify allows, as a share of the logits' range. "
            "The metadata then says that it was set by hand.",
        ),
        Flag(
            ["--precision"],
            group="output",
            type=click.Choice(precisions),
            help=f"The arithmetic of the artifact. Default: {precisions[0]}.",
        ),
        *(
            Flag(
                [flag, _parameter_of(flag)],
                group="output",
                is_flag=True,
                help=f"The same as --precision {precision}.",
            )
            for flag, precision in maker.attribute("precision_flags").items()
        ),
        force_option("Replace the output if it exists."),
    ]


def precision_of(maker: Provider, values: Mapping[str, Any]) -> Precision:
    """The precision that ``--precision`` or another flag asks for; default: the maker's first.

    Raises:
        UsageError: two flags ask for different ones.
    """
    given = {"--precision": values["precision"]}
    for flag, precision in maker.attribute("precision_flags").items():
        given[flag] = precision if values[_parameter_of(flag)] else None
    asked: dict[str, Precision] = {flag: value for flag, value in given.items() if value is not None}
    if len(set(asked.values())) > 1:
        words = [f"{flag} {value}" if flag == "--precision" else flag for flag, value in asked.items()]
        raise UsageError(f"{' and '.join(words)} exclude each other")
    chosen: Precision = next(iter(asked.values()), maker.attribute("precisions")[0])
    return chosen


def _parameter_of(flag: str) -> str:
    """The name of the parameter of a flag that means a precision; no option of a target has it."""
    return f"precision_flag_{flag.lstrip('-').replace('-', '_')}"


def thresholds_of(values: Mapping[str, Any], precision: Precision) -> Thresholds | None:
    """The thresholds with ``--tolerance``; ``None``: those of the precision.

    Raises:
        UsageError: ``--verify`` is not given.
    """
    if values["tolerance"] is None:
        return None
    if not values["verify"]:
        raise UsageError("--tolerance is a threshold of --verify, which is not given")
    return replace(thresholds_for(precision), logits=values["tolerance"])


def report_written(output: Output, artifact: Artifact) -> None:
    """Say which file was written, how large it is, and what it does not do as the model's framework does."""
    output.say(f"wrote {artifact.path} ({in_bytes(artifact.size)})")
    for line in artifact.meta.approximations:
        output.say(f"approximate: {line}")


def report_artifact(output: Output, artifact: Artifact, *, verify: bool = False) -> int:
    """Print the document of an artifact and of its verification; returns the exit code.

    With ``verify``, an artifact that does not count as verified is a failure.
    """
    verification = artifact.meta.verification
    output.document({"artifact": artifact_data(artifact), "verification": verification})
    if verification is None:
        return 1 if verify else 0
    return 0 if verification["passed"] else 1


def artifact_data(artifact: Artifact) -> dict[str, Any]:
    """An artifact as JSON types."""
    data = asdict(artifact)
    return {**data, "path": str(artifact.path), "meta": artifact.meta.to_dict()}


def report_verification(output: Output, artifact: Artifact) -> None:
    """Print the statistics of the verification and whether it passed, if there was one."""
    found = artifact.meta.verification
    if found is None:
        return
    reference = found["reference"]
    rows: list[tuple[str, Any]] = [
        ("inputs compared", _inputs(found["inputs"])),
        ("pixels compared", found["pixels"]),
    ]
    if found["logits_compared"] and found["pixels"]:
        rows += [
            ("largest logit difference", f"{found['max_logit_difference']:.3e}"),
            ("mean logit difference", f"{found['mean_logit_difference']:.3e}"),
            ("largest, as a share of the range", f"{found['relative_difference']:.3e}"),
        ]
    if found["pixels"]:
        rows += [
            ("label agreement", f"{found['label_agreement']:.6f}"),
            ("label agreement away from near-ties", f"{found['firm_agreement']:.6f}"),
            ("near-ties", f"{found['near_ties']:.6f}"),
            ("mIoU between the two", f"{found['miou']:.6f}"),
            ("worst input", _worst(found)),
        ]
    if found["unstable"]:
        rows.append((f"left out, unstable in {reference}", f"{found['unstable']:.6f}"))
    output.table(Table(f"Compared with {reference}", ("what", "value"), tuple(rows)))
    for line in found.get("not_compared", ()):
        output.paragraph(f"not compared: {line}")
    if found.get("thresholds_by_hand"):
        limit = found["thresholds"]["logits"]
        output.say(f"the thresholds were set by hand: logits may differ by {limit:g} of their range")
    alike = ", both with the approximations" if artifact.meta.approximations else ""
    output.say(
        f"verified: it computes what {reference} computes{alike}" if found["passed"] else "NOT VERIFIED:"
    )
    for failure in found["failures"]:
        output.say(f"  {failure}")


def _inputs(names: Sequence[str]) -> str:
    """How many, and the first of them; the document has all."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)}: {', '.join(names[:_NAMED])}{more}"


def _worst(found: Mapping[str, Any]) -> str:
    if found["worst_pixel"] is None:
        return "none"
    row, column = found["worst_pixel"]
    return f"{found['worst_input']}, at row {row}, column {column}"
