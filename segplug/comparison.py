"""How far an artifact is from what it was made of, and what it is held to. Plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Comparison", "Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """What a comparison must keep to. All are fractions."""

    logits: float
    """Largest logit difference, as a share of the reference's range over the same input."""
    firm_agreement: float
    """Least share of equal labels among the pixels that are no near-tie."""
    miou: float
    """Least mean IoU between the two label maps, the reference taken as the truth, near-ties apart."""


@dataclass(frozen=True)
class Comparison:
    """How far an artifact is from the model, over all inputs compared. Plain data."""

    passed: bool
    failures: tuple[str, ...]
    """One sentence for each threshold that does not hold."""
    precision: str
    thresholds: Thresholds
    inputs: tuple[str, ...]
    """What was compared: image names with sizes."""
    pixels: int
    logits_compared: bool
    """Whether the candidate gave logits; the logit fields are 0 where it did not."""
    max_logit_difference: float
    mean_logit_difference: float
    relative_difference: float
    """Largest logit difference of any input, as a share of that input's reference range."""
    label_agreement: float
    firm_agreement: float
    """Label agreement away from near-ties (1.0 if there is nothing but near-ties)."""
    near_ties: float
    """Share of pixels that are near-ties."""
    unsteady: float
    """Share of pixels left out of all other figures: rounding its input moves the reference there."""
    miou: float
    """Mean IoU of the candidate's labels against the reference's, near-ties apart."""
    worst_input: str
    """The input with the largest logit difference, or the most firm disagreements."""
    worst_pixel: tuple[int, int] | None
    """(row, column) of the largest difference there; ``None`` when all is equal."""
    reference: str
    """What it was compared with: ``PyTorch``, ``onnxruntime 1.31.1 (cpu)``."""

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        data = asdict(self)
        data["failures"] = list(self.failures)
        data["inputs"] = list(self.inputs)
        data["worst_pixel"] = None if self.worst_pixel is None else list(self.worst_pixel)
        return data
