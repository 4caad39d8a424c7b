"""The functions of torchvision, of which the environment of the tests has no build that fits its torch."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import pytest
import torch

_PROOFS = Path(sys.prefix) / "proofs"
_library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]


def functions() -> types.ModuleType:
    """``torchvision.transforms.v2.functional``, from where ``make setup`` installs it."""
    if str(_PROOFS) not in sys.path:
        sys.path.append(str(_PROOFS))
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        # A torchvision that was built for CUDA does not find its operators with a CPU build of torch.
        for operator in ("nms", "qnms"):
            schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            _library.define(schema)  # type: ignore[no-untyped-call]
    except ImportError as error:
        pytest.fail(f"torchvision is not installed, and it is compared with ({error}): run make setup")
    return importlib.import_module("torchvision.transforms.v2.functional")
