"""torchvision, timm and segmentation-models-pytorch for tests and measurements: see ``with_proofs``."""

from __future__ import annotations

import os
from pathlib import Path

from scripts.with_proofs.torchvision_stand_in import install

__all__ = ["environment", "install"]

_FOLDER = Path(__file__).parent / "with_proofs"


def environment() -> dict[str, str]:
    """The variables of a command that may import these libraries."""
    paths = [str(_FOLDER), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
