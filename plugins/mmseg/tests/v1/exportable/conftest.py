from __future__ import annotations

import pytest
import torch
from segplug_mmseg.compat import import_mmseg


@pytest.fixture(scope="session", autouse=True)
def mmseg():
    torch.set_num_threads(1)
    return import_mmseg()
