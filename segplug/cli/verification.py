"""``--verify``: what it is held to, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from segplug.cli.output import Output
from segplug.requests import Table
from segplug.verify import Thresholds, thresholds_for

__all__ = ["print_verification", "thresholds_of", "tolerance_option"]


def tolerance_option() -> click.Option:
    """The flag that goes with ``--verify``."""
    return click.Option(
        ["--tolerance"],
        type=click.FloatRange(0, 1),
        metavar="SHARE",
        help="Largest logit difference that --verify allows, as a share of the logits' range.",
    )


def thresholds_of(values: Mapping[str, Any]) -> Thresholds | None:
    """Those of ``--tolerance``; ``None``: the usual ones of the precision."""
    if values["tolerance"] is None:
        return None
    return replace(thresholds_for(values["precision"]), logits=values["tolerance"])


def print_verification(output: Output, found: Mapping[str, Any]) -> None:
    """What a comparison found, and its verdict."""
    reference = found["reference"]
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
        rows.append((f"left out, as rounding moves {reference} there", f"{found['unsteady']:.6f}"))
    output.table(Table(f"Compared with {reference}", ("what", "value"), tuple(rows)))
    output.say(f"verified: it computes what {reference} computes" if found["passed"] else "NOT VERIFIED:")
    for failure in found["failures"]:
        output.say(f"  {failure}")


def _worst(found: Mapping[str, Any]) -> str:
    if found["worst_pixel"] is None:
        return "none"
    row, column = found["worst_pixel"]
    return f"{found['worst_input']}, at row {row}, column {column}"
