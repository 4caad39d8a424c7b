"""Everything that decides what a model computes: cached files are used only while all of it is equal."""

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
from segplug.regular_files import MOST_TEXT, read_regular

if TYPE_CHECKING:
    import torch

    from segplug.model import SegmentationModel
    from segplug.session import Session
    from segplug_analysis.model_options import ModelOptions

__all__ = ["model_identity"]

_BY_VERSION = {"torch", *sys.stdlib_module_names}
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def model_identity(
    session: Session, model: SegmentationModel, config: str, options: ModelOptions
) -> dict[str, Any]:
    """Hashes of weights, of the config with its imports and of the network's code; versions; metadata."""
    meta = model.meta.to_dict()
    provenance = meta.pop("provenance")
    try:
        text = session.config_text(config, **options.keywords(session.config_text))
        digest = hashlib.sha256(text.encode()).hexdigest()
    except UsageError:
        digest = provenance["config_sha256"]  # this source cannot write out what a config imports
    return {
        "meta": meta,
        "config": digest,
        "cfg_options": _as_text(options.cfg_options),
        "source_options": _as_text(options.source_options),
        "checkpoint": provenance["checkpoint_sha256"],
        "code": _code_of(model.module),
        "torch": distributions.version("torch"),
    }


def _as_text(given: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: str(value) for key, value in (given or {}).items()}


def _code_of(network: torch.nn.Module) -> str:
    """SHA-256 over the source files that the network's classes come from.

    A config may import the user's own code: networks of equal configs may compute different things.
    """
    todo = {cls.__module__ for module in network.modules() for cls in type(module).__mro__}
    files: dict[str, Path] = {}
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        path = Path(getattr(module, "__file__", None) or "")
        if module is None or name in files or name.split(".")[0] in _BY_VERSION or not path.is_file():
            continue
        files[name] = path
        if path.suffix == ".py" and _INSTALLED.isdisjoint(path.parts):
            todo.update(_imports(module, path))  # the user's own code: a class may call what changed
    lines = [f"{name} {file_sha256(path)}" for name, path in sorted(files.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _imports(module: ModuleType, path: Path) -> Iterator[str]:
    """What a module imports at its top level. Imports inside functions may not have happened yet."""
    try:
        statements = ast.parse(read_regular(path, most_bytes=MOST_TEXT)).body
    except (SyntaxError, ValueError):  # edited after it was imported: its hash has changed anyway
        return
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            name = "." * statement.level + (statement.module or "")
            base = resolve_name(name, module.__package__ or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in statement.names)
