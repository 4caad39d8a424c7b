"""What holds for the tests of both generations: which of them run, and the configs of mmseg.

``v0`` and ``v1`` are collected only where their generation of mmsegmentation is installed. All else runs in
both environments.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from segplug_mmseg.installed import installed_mmseg

INSTALLED = installed_mmseg()
GENERATION = INSTALLED.generation
collect_ignore = ["v0"] if GENERATION == "1.x" else ["v1"]


def pytest_report_header() -> str:
    return f"mmseg: {INSTALLED}, tests of generation {GENERATION}"


@pytest.fixture(scope="session")
def mim_configs() -> Path:
    """The configs that come with mmseg."""
    spec = importlib.util.find_spec("mmseg")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / ".mim" / "configs"
