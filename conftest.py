"""What holds for every test, of the core and of the plugins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _stages_are_not_said() -> Iterator[None]:
    """Keep the lines of stages off stderr, which tests compare: they depend on how busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segplug.cli.stages._SAID_AFTER", 1e6)
        yield
