"""An artifact that is right at one size only fails the comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

from segplug.engine import EngineSpec
from segplug.errors import ShapeError
from segplug.model import ModelMeta
from segplug.preprocessing import usual_steps
from segplug.progress import QuietReporter
from segplug.verification.compare import compare
from segplug.verification.run import comparison_inputs, run_both

META = ModelMeta(name="m", classes=("a", "b", "c"), out_channels=3, preprocessing=usual_steps((0, 0, 0), (50, 60, 70)))


class Pass:
    """Gives its input back as logits; says that it takes any size."""

    spec = EngineSpec(meta=META, output="logits", backend="test")

    def run(self, batch: np.ndarray) -> Any:
        return batch.copy()

    def close(self) -> None: ...


class Frozen(Pass):
    """Breaks at every size but one, as an export with frozen sizes does."""

    def run(self, batch: np.ndarray) -> Any:
        if batch.shape[2:] != (32, 48):
            raise ShapeError(f"a Reshape expects 32x48, not {batch.shape[2]}x{batch.shape[3]}")
        return batch.copy()


def comparison(candidate: Pass) -> Any:
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    inputs = comparison_inputs([("image", image, META)], candidate)
    return compare(run_both(Pass(), candidate, inputs, QuietReporter()))


def test_all_axes_that_may_vary_are_varied() -> None:
    result = comparison(Pass())
    assert result.passed
    sizes = {name.split()[1] for name in result.inputs}
    assert sizes == {"1x32x48", "1x43x63", "1x32x37", "2x32x48"}


def test_frozen_sizes_are_a_failed_comparison_and_no_crash() -> None:
    result = comparison(Frozen())
    assert not result.passed
    assert len(result.failures) == 2
    assert "does not run image 1x43x63" in result.failures[0]
