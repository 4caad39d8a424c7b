"""Paths, and locations with a scheme."""

from __future__ import annotations

import pytest

from segplug.locations import has_scheme


@pytest.mark.parametrize("location", ["python:package.module:factory", "python:/a/b.py:f", "s3://bucket/x"])
def test_a_scheme(location: str) -> None:
    assert has_scheme(location)


@pytest.mark.parametrize("location", ["config.py", "/a/b.py", "C:\\configs\\a.py", "a/b:c.py", "", ":x"])
def test_a_path(location: str) -> None:
    assert not has_scheme(location)
