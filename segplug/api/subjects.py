"""Turn what a caller gives (a model, an artifact, its path, a server's address) into a field of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug import artifact as artifacts
from segplug.errors import UsageError
from segplug.installed import Provider
from segplug.model import SegmentationModel
from segplug.results import Artifact
from segplug.session import Subject

if TYPE_CHECKING:
    import torch

    from segplug.engine import Engine

__all__ = ["identity", "input_files", "request_field", "run_settings"]


def request_field(provider: Provider, what: Subject) -> dict[str, Any]:
    """``what`` as the request field that the provider takes; :class:`UsageError` if it cannot."""
    named = f"{provider.entry.hook} {provider.entry.target}"
    if provider.takes == "url":
        if not isinstance(what, str):
            raise UsageError(f"{named} takes the address of a server, not a file or a model")
        return {"url": what}
    if isinstance(what, SegmentationModel):
        if provider.takes == "artifact":
            raise UsageError(f"{named} takes an artifact, not a loaded model")
        return {"model": what}
    path = what.path if isinstance(what, Artifact) else Path(what)
    if provider.takes == "model":
        raise UsageError(f"{named} takes a loaded model, not the file {path}")
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    return {"artifact": path}


def input_files(what: Subject) -> list[str | Path | None]:
    """The files that ``what`` is read from; no output replaces one."""
    if isinstance(what, SegmentationModel):
        made_from = what.meta.provenance
        return [made_from.config, made_from.checkpoint, *what.files]
    return [what.path if isinstance(what, Artifact) else what]


def run_settings(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The options that may change results: all but a server's token, which may expire, and timeout."""
    return sorted(item for item in options.items() if item[0] not in ("token", "timeout"))


def identity(what: Subject, engine: Engine) -> str:
    """A text that identifies the network of a run: only a run of the same network is resumed."""
    if isinstance(what, SegmentationModel):
        return f"{what.meta.to_json()} {_network_sha256(what.module)}"
    if isinstance(what, str) and "://" in what:
        return f"{what} {engine.spec.meta.to_json()}"
    path = what.path if isinstance(what, Artifact) else Path(what)
    return artifacts.file_sha256(path) if path.is_file() else str(path.resolve())


def _network_sha256(module: torch.nn.Module) -> str:
    """SHA-256 over the modules of a network, as PyTorch prints them, and over its weights.

    The metadata does not say all: a config imports others, a factory reads files, weights may be random.
    """
    import torch

    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(values.numpy()))
    return digest.hexdigest()
