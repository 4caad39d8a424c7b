"""The result of a verification, and its thresholds. Plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from segplug.errors import UsageError

__all__ = ["Comparison", "Thresholds"]


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

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        data = asdict(self)
        data["failures"] = list(self.failures)
        data["inputs"] = list(self.inputs)
        data["not_compared"] = list(self.not_compared)
        data["worst_pixel"] = None if self.worst_pixel is None else list(self.worst_pixel)
        return data
