"""The result of a verification, and its thresholds. Plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segplug.errors import UsageError
from segplug.text import counted

__all__ = ["Comparison", "Thresholds", "verification_in_words"]


@dataclass(frozen=True)
class Thresholds:
    """The limits of a comparison. All are fractions."""

    logits: float
    """Largest allowed logit difference, as a share of the range of the reference's logits for the input."""
    firm_agreement: float
    """Smallest allowed share of equal labels, near-ties left out."""
    miou: float
    """Smallest allowed mean IoU of the two label maps, the reference as ground truth, near-ties left out."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:  # NaN, too, with which nothing would fail
                raise UsageError(f"the threshold {name} is a fraction of 0 to 1, not {value}")


@dataclass(frozen=True)
class Comparison:
    """How much the output of an artifact differs from the reference, over all inputs compared."""

    passed: bool
    failures: tuple[str, ...]
    """One sentence for each threshold that is not met."""
    precision: str
    thresholds: Thresholds
    thresholds_by_hand: bool
    """Whether the user set the thresholds; if not, they are those of the precision."""
    inputs: tuple[str, ...]
    """The inputs that were compared: image names with sizes."""
    pixels: int
    logits_compared: bool
    """Whether the artifact gave logits; if not, the logit fields are 0."""
    max_logit_difference: float
    mean_logit_difference: float
    relative_difference: float
    """Largest logit difference of any input, as a share of the range of the reference's logits for it."""
    label_agreement: float
    firm_agreement: float
    """Label agreement, near-ties left out (1.0 if all pixels are near-ties)."""
    near_ties: float
    """Share of pixels that are near-ties."""
    unstable: float
    """Share of pixels left out of all other figures, because rounding errors change the reference there."""
    miou: float
    """Mean IoU of the artifact's labels, with the reference's as ground truth, near-ties left out."""
    worst_input: str
    """The input with the largest logit difference; if there are only labels, with the most wrong ones."""
    worst_pixel: tuple[int, int] | None
    """(row, column) of the largest difference in it; ``None``: there is no difference."""
    reference: str
    """The name of the reference: ``PyTorch``, ``onnxruntime 1.31.1 (cpu)``."""
    not_compared: tuple[str, ...] = ()
    """What the figures say nothing about, one line each."""

    def __repr__(self) -> str:
        return f"<Comparison {'; '.join(verification_in_words(self.to_dict()))}>"

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        data = asdict(self)
        data["failures"] = list(self.failures)
        data["inputs"] = list(self.inputs)
        data["not_compared"] = list(self.not_compared)
        data["worst_pixel"] = None if self.worst_pixel is None else list(self.worst_pixel)
        return data


def verification_in_words(verification: Mapping[str, Any] | None) -> list[str]:
    """The outcome of a verification, one line for each fact.

    Args:
        verification: ``Comparison.to_dict()``, perhaps with a ``date``, as metadata holds it; entries may be
            missing. ``None``: never compared.
    """
    if verification is None:
        return ["never compared with what it was made from"]
    found = defaultdict(lambda: "?", {key: str(value) for key, value in verification.items()})
    when = f", on {found['date'][:10]}" if "date" in verification else ""
    outcome = "yes, against" if verification.get("passed") else "FAILED, against"
    lines = [f"{outcome} {found['reference']}{when}"]
    if verification.get("pixels"):
        inputs = verification.get("inputs")
        count = len(inputs) if isinstance(inputs, (list, tuple)) else 0
        lines.append(
            f"{counted(count, 'input')}, {_shown(verification['pixels'], ',')} pixels: label agreement "
            f"{_shown(verification.get('label_agreement'), '.6f')}"
        )
    limits = verification.get("thresholds")
    if verification.get("logits_compared") and isinstance(limits, Mapping):
        by_hand = ", set by hand" if verification.get("thresholds_by_hand") else ""
        lines.append(
            f"largest logit difference {_shown(verification.get('relative_difference'), '.2g')} of the range "
            f"(allowed for {found['precision']}: {_shown(limits.get('logits'), 'g')}{by_hand})"
        )
    failures = verification.get("failures")
    return lines + [str(line) for line in failures] if isinstance(failures, (list, tuple)) else lines


def _shown(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, (int, float)) else "?"
