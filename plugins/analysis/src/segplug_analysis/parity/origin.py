"""All that makes a model what it is: what was made of it is used again only while this is equal."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata as distributions
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256
from segplug.errors import UsageError

if TYPE_CHECKING:
    import torch

    from segplug.model import SegmentationModel
    from segplug.session import Session

__all__ = ["origin_of"]

_KNOWN_BY_VERSION = {"torch", *sys.stdlib_module_names}
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def origin_of(
    session: Session,
    model: SegmentationModel,
    config: str,
    *,
    cfg_options: Mapping[str, Any] | None,
    source: str | None,
) -> dict[str, Any]:
    """Weights, the config with what it imports, the network's own code, versions, meta (JSON types)."""
    meta = model.meta.to_dict()
    provenance = meta.pop("provenance")
    try:
        text = session.config_text(config, cfg_options=cfg_options, source=source)
        digest = hashlib.sha256(text.encode()).hexdigest()
    except UsageError:
        digest = provenance["config_sha256"]  # this source cannot say what its configs import
    return {
        "meta": meta,
        "config": digest,
        "cfg_options": {key: str(value) for key, value in (cfg_options or {}).items()},
        "checkpoint": provenance["checkpoint_sha256"],
        "code": _code_of(model.module),
        "torch": distributions.version("torch"),
    }


def _code_of(network: torch.nn.Module) -> str:
    """SHA-256 over the source files that the network's classes come from.

    A config may import the user's own code: two networks of equal configs need not compute the same.
    """
    todo = {cls.__module__ for module in network.modules() for cls in type(module).__mro__}
    files: dict[str, Path] = {}
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        path = Path(getattr(module, "__file__", None) or "")
        if module is None or name in files or name.split(".")[0] in _KNOWN_BY_VERSION or not path.is_file():
            continue
        files[name] = path
        if path.suffix == ".py" and _INSTALLED.isdisjoint(path.parts):
            todo.update(_imports(module, path))  # what is being worked on: a class may only call what changed
    lines = [f"{name} {file_sha256(path)}" for name, path in sorted(files.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _imports(module: ModuleType, path: Path) -> Iterator[str]:
    """What a module imports as it is loaded. Imports inside of functions may have happened, or not yet."""
    try:
        statements = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError):  # edited after it was loaded; its hash says so already
        return
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            name = "." * statement.level + (statement.module or "")
            base = resolve_name(name, module.__package__ or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in statement.names)
