"""The manifest of a distribution: the facts of its providers, readable without importing them.

It is the file ``segplug.json`` in the package that the entry points name (beside a module that is no package:
``<module>.segplug.json``). ``segplug plugins manifest`` writes it from the classes, and the loader compares
the two.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from segplug.errors import PluginError
from segplug.installed import Facts
from segplug.regular_files import MOST_TEXT, read_regular

__all__ = ["MANIFEST", "Manifest", "forget", "manifest_of", "manifest_path", "manifest_text", "read_manifest"]

MANIFEST = "segplug.json"

_FORMAT = 1
_TUPLES = {"reads", "precisions", "sidecars"}
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "kind": str,
    "versions": dict,
    "about": str,
    "takes": str,
    "reads": list,
    "suffix": str,
    "verify_with": str,
    "default_device": str,
    "precisions": list,
    "mandatory": bool,
    "order": int,
    "sidecars": list,
}


@dataclass(frozen=True)
class Manifest:
    """What one manifest says: the distribution, and the facts by (hook, target)."""

    distribution: str
    facts: Mapping[tuple[str, str], Facts]


@cache
def manifest_of(module: str) -> Manifest:
    """The manifest for an entry point's module; imports nothing.

    Raises:
        PluginError: the module or the manifest is not there, or the manifest is damaged.
    """
    return read_manifest(manifest_path(module))


def read_manifest(path: Path) -> Manifest:
    """Read one manifest.

    Raises:
        PluginError: it is not there, or damaged.
    """
    try:
        content = read_regular(path, most_bytes=MOST_TEXT)
    except FileNotFoundError:
        raise PluginError(f"it has no manifest ({path.name})") from None
    except OSError as error:
        raise PluginError(f"its manifest cannot be read: {error.strerror or error}") from error
    try:
        return _parsed(json.loads(content))
    except KeyError as error:
        raise PluginError(f"its manifest {path} is damaged: {error} is missing") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PluginError(f"its manifest {path} is damaged: {error}") from error


def manifest_path(module: str) -> Path:
    """Where the manifest for an entry point's module lies: in the first package of its dotted name that is a
    folder with an ``__init__``; runs no code.

    Raises:
        PluginError: there is no such module.
    """
    spec = _outermost(module)
    origin = Path(str(spec.origin))
    if spec.submodule_search_locations is None:
        return origin.with_name(f"{spec.name}.{MANIFEST}")
    return origin.with_name(MANIFEST)


def manifest_text(manifest: Manifest) -> str:
    """A manifest as the text of its file. Facts that have their default are left out."""
    providers = [
        {"hook": hook, "target": target, **_as_json(facts)}
        for (hook, target), facts in sorted(manifest.facts.items())
    ]
    document = {"manifest": _FORMAT, "distribution": manifest.distribution, "providers": providers}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def forget() -> None:
    """Forget what was read; for processes that install plugins while they run."""
    manifest_of.cache_clear()


def _as_json(facts: Facts) -> dict[str, Any]:
    plain = {}
    for field in fields(facts):
        value = getattr(facts, field.name)
        if field.name in ("kind", "versions") or value != field.default:
            plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain


def _parsed(document: Any) -> Manifest:
    if not isinstance(document, dict):
        raise ValueError("it holds no JSON object")
    version = document["manifest"]
    if type(version) is not int or version < 1:
        raise ValueError(f"'manifest' cannot be {version!r}")
    if version > _FORMAT:
        raise PluginError(f"its manifest has format {version}, this segplug reads {_FORMAT}: upgrade segplug")
    facts: dict[tuple[str, str], Facts] = {}
    for item in document["providers"]:
        named = (_text(item.pop("hook"), "hook"), _text(item.pop("target"), "target"))
        if named in facts:
            raise ValueError(f"it names {' '.join(named)} twice")
        facts[named] = _facts(item)
    return Manifest(_text(document["distribution"], "distribution"), facts)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"'{name}' cannot be {value!r}")
    return value


def _facts(item: dict[str, Any]) -> Facts:
    for name in ("kind", "versions"):
        if name not in item:
            raise KeyError(name)
    for name, value in item.items():
        kind = _FIELDS.get(name)
        if kind is None:
            raise ValueError(f"'{name}' is no fact")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"'{name}' cannot be {value!r}")
        if isinstance(value, list) and not all(isinstance(word, str) for word in value):
            raise ValueError(f"'{name}' cannot be {value!r}")
    if not all(type(version) is int for version in item["versions"].values()):
        raise ValueError("the versions are no whole numbers")
    values: dict[str, Any] = {
        name: tuple(value) if name in _TUPLES else value for name, value in item.items()
    }
    return Facts(**values)


def _outermost(module: str) -> ModuleSpec:
    """The first part of a dotted name that is not a bare namespace folder, whose import runs no code."""
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}".removeprefix(".")
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            break
        if spec.origin is not None:
            return spec
    raise PluginError(f"there is no module {name}")
