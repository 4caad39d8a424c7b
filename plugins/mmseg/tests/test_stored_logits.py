"""Both generations of mmsegmentation give the same logits for a config and a checkpoint of 0.30.

They are those that 0.30 gave. ``python -m matrix.generations`` compares whole networks, one of each family.
"""

from __future__ import annotations

import numpy as np
import pytest
from mmseg_support.stored_logits import FILE, MODELS, logits_of


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_that_0_30_gives(name, tmp_path):
    with np.load(FILE) as stored:
        expected = stored[name]
    assert expected.std(axis=(1, 2)).min() > 0.02 * np.abs(expected).max()
    # Other CPUs sum in another order.
    np.testing.assert_allclose(
        logits_of(name, tmp_path)[:, ::4, ::4], expected, rtol=0, atol=2e-6 * np.abs(expected).max()
    )
