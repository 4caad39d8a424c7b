"""Import torchvision where no build of it fits the installed PyTorch, with what needs it: timm, smp.

``make setup`` puts them into a folder of the environment that nothing else sees. A torchvision that was built
for CUDA does not find its operators with a CPU build of PyTorch: networks and transforms do not call them, so
signatures are enough. This is for tests and measurements only; no plugin needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PROOFS = Path(sys.prefix) / "proofs"

_OPERATORS = ("nms", "qnms")
_kept: list[object] = []


class _Finder:
    """Defines the operators of torchvision just before it is imported."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision" and not _kept:
            spec = PathFinder.find_spec(name)
            if spec is not None and spec.origin is not None:
                _define_operators(Path(spec.origin).parent)
        return None


def _define_operators(folder: Path) -> None:
    import torch

    version = folder / "version.py"
    if torch.version.cuda is None and version.is_file() and "+cu" in version.read_text():
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in _OPERATORS:
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _kept.append(library)  # the operators go with it


def install() -> None:
    """Make torchvision, timm and segmentation_models_pytorch importable in this process."""
    if str(PROOFS) not in sys.path:
        sys.path.append(str(PROOFS))
    if not any(isinstance(finder, type) and finder.__name__ == "_Finder" for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder)
