"""Small mmseg networks with weights that matter, and how far two answers are apart."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from mmseg_support import comparing
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.installed import installed_mmseg


@pytest.fixture(scope="session", autouse=True)
def mmseg():
    torch.set_num_threads(1)
    return import_mmseg()


@pytest.fixture(scope="session")
def wrappers(mmseg) -> ModuleType:
    """The module of mmseg that has ``resize`` and ``Upsample``."""
    return importlib.import_module(
        {"0.x": "mmseg.ops", "1.x": "mmseg.models.utils"}[installed_mmseg().generation]
    )


@pytest.fixture(scope="session")
def randomised() -> Callable[[torch.nn.Module], torch.nn.Module]:
    return comparing.randomised


@pytest.fixture(scope="session")
def distance() -> Callable[[object, object], float]:
    return comparing.distance
