"""The functions of torchvision, of which the environment of the tests has no build that fits its torch."""

from __future__ import annotations

import importlib
import types

import pytest

from scripts import proofs


def functions() -> types.ModuleType:
    """``torchvision.transforms.v2.functional``, from where ``make setup`` installs it."""
    proofs.install()
    try:
        return importlib.import_module("torchvision.transforms.v2.functional")
    except ImportError as error:
        pytest.fail(f"torchvision is not installed, and it is compared with ({error}): run make setup")
