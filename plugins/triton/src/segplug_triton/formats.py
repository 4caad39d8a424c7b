"""Chooses the Triton backend for an artifact by the artifact's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import UsageError
from segplug.registry.formats import has_suffix

if TYPE_CHECKING:
    from segplug.requests import PackRequest
    from segplug.session import Session
    from segplug_triton.signature import Packable

__all__ = ["Kind", "kind_of"]


@dataclass(frozen=True)
class Kind:
    """One of Triton's backends, and the artifacts that it runs."""

    format: str
    """The target that makes these artifacts."""
    backend: str
    platform: str
    """An older name of the backend. Triton's own configurations contain both."""
    filename: str
    """The file that the backend expects in a version's folder."""
    suffixes: tuple[str, ...]
    """The suffixes of such files; they are used if no installed plugin makes files of this suffix."""
    reader: str
    """The module that reads these artifacts."""

    def read(self, path: Path, request: PackRequest[Any]) -> Packable:
        """Read the inputs and outputs of an artifact; raises :class:`segplug.errors.SegplugError`."""
        read: Callable[[Path, str, Any], Packable] = import_module(self.reader).read
        return read(path, self.filename, request)


_KINDS = (
    Kind("onnx", "onnxruntime", "onnxruntime_onnx", "model.onnx", (".onnx",), "segplug_triton.onnx_file"),
    Kind(
        "torchscript",
        "pytorch",
        "pytorch_libtorch",
        "model.pt",
        (".pt",),
        "segplug_triton.torchscript_file",
    ),
    Kind(
        "tensorrt",
        "tensorrt",
        "tensorrt_plan",
        "model.plan",
        (".plan", ".engine"),
        "segplug_triton.tensorrt_file",
    ),
)

_REFUSED = {
    ".pt2": "Triton only runs .pt2 files that its own PyTorch compiled; pack ONNX or TorchScript",
    ".xml": "Triton's OpenVINO backend is unreliable with batches; pack the ONNX file that it was made from",
    ".pth": "a checkpoint is not an artifact; export it first: segplug export onnx",
}


def kind_of(session: Session, path: Path) -> Kind:
    """The Triton backend for an artifact: by the installed plugin that makes such files, else by the suffix.

    Raises:
        UsageError: no Triton backend runs such artifacts.
    """
    made = _format_of(session, path)
    for kind in _KINDS:
        if kind.format == made or (made is None and path.suffix.lower() in kind.suffixes):
            return kind
    reason = _REFUSED.get(path.suffix.lower())
    packed = ", ".join(sorted(suffix for kind in _KINDS for suffix in kind.suffixes))
    raise UsageError(f"export triton cannot pack {path.name}", hint=reason or f"it packs {packed}")


def _format_of(session: Session, path: Path) -> str | None:
    """The target of the installed plugin that makes such files; of several, the one that Triton knows."""
    makers = [
        maker
        for hook in ("export", "build_engine")
        for maker in session.targets(hook)
        if has_suffix(path, maker.facts.suffix)
    ]
    longest = max((len(maker.facts.suffix) for maker in makers), default=0)
    found = {maker.target for maker in makers if len(maker.facts.suffix) == longest}
    known = [kind.format for kind in _KINDS if kind.format in found]
    return known[0] if known else min(found, default=None)
