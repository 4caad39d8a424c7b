"""Training logs of made-up runs."""

from __future__ import annotations

import pytest
from analysis_support.training_logs import train, val, write


@pytest.fixture
def by_iteration(tmp_path):
    lines = []
    for iteration in range(50, 401, 50):
        lines.append(train(iteration, 400 / iteration, epoch=1 + iteration // 150))
        if iteration % 200 == 0:
            lines.append(val(iteration / 1000, mAcc=0.5, **{"IoU.road": 0.9}))
    return write(tmp_path / "run.log.json", *lines)


@pytest.fixture
def by_epoch(tmp_path):
    lines = []
    for epoch in (1, 2, 3):
        lines += [train(iteration, 1 / epoch, epoch=epoch) for iteration in (10, 20)]
        lines.append(val(epoch / 10, epoch=epoch))
    return write(tmp_path / "epochs.log.json", *lines)
