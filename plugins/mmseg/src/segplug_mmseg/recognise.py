"""How sure the sources are that a file is a config: it is parsed, and does not run; mmcv is not imported."""

from __future__ import annotations

import ast
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from segplug.locations import has_scheme
from segplug.providers import Confidence
from segplug.regular_files import read_regular

__all__ = ["DATA", "MODEL", "confidence", "config_path", "signs_of_1x"]

MODEL = ("model",)
DATA = ("data", "test_dataloader")
"""The settings that a source needs, of which a config has one: its generation says which."""

_BASE = "_base_"
_ANYTHING = "*"
"""Stands for names that only running the config would show."""
_DYNAMIC = ("exec", "globals", "locals", "vars")
_PARTS = (
    *("model", "data", "test_pipeline", "test_dataloader", "train_dataloader", "data_preprocessor"),
    *("default_scope", "default_hooks", "tta_pipeline", "test_evaluator", "test_cfg", "optim_wrapper"),
    *("custom_imports", "dist_params", "log_config", "lr_config", "optimizer_config", "checkpoint_config"),
    _ANYTHING,
)
"""A file with one of these is a config, or a part of one: the loader says what it lacks."""
_KEYS_OF_1X = ("default_scope", "train_dataloader", "test_dataloader", "test_evaluator", "data_preprocessor")
_READ_BASE = re.compile(rb"^[ \t]*with[ \t]+read_base[ \t]*\(", re.MULTILINE)
"""How new-style configs of mmengine import their bases."""
_IMPORT_OF_1X = re.compile(rb"^[ \t]*(from|import) mmengine\b", re.MULTILINE)

_SETTINGS_CLASSES = ("Dict", "Config")
"""The ends of the names of classes that hold settings."""

_LARGEST = 1 << 18
"""Bytes; mmseg's own have up to 3012. A larger file is not parsed: lists of annotations are JSON, too."""

_OTHER_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def confidence(location: str, settings: tuple[str, ...]) -> Confidence:
    """How sure it is that ``location`` is a config of mmsegmentation with a setting.

    A file that is not there, or that cannot be parsed, is possible: the loader then says what is wrong. So is
    a part of a config, where overrides may add the setting.

    Args:
        location: A config as the user gave it.
        settings: :data:`MODEL` or :data:`DATA`. A base may have it.
    """
    path = config_path(location)
    read = _SETTINGS.get(path.suffix.lower())
    if read is None or has_scheme(location) or os.path.isdir(path):
        return Confidence.NO
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > _LARGEST:
            return Confidence.POSSIBLE
        source = read_regular(path, most_bytes=_LARGEST)
        found = read(source)
    except (OSError, ImportError, SyntaxError, ValueError, RecursionError, MemoryError):
        return Confidence.POSSIBLE
    if found.intersection((*settings, _BASE)) or _READ_BASE.search(source):
        return Confidence.LIKELY
    return Confidence.POSSIBLE if found.intersection(_PARTS) or signs_of_1x(source, found) else Confidence.NO


def config_path(location: str) -> Path:
    """The path of a config, ``~`` expanded."""
    return Path(os.path.expanduser(location))


def signs_of_1x(source: bytes, keys: Iterable[str]) -> list[str]:
    """What shows that a config is one of mmsegmentation 1.x: its keys, or an import in its text."""
    known = set(keys)
    signs = [key for key in _KEYS_OF_1X if key in known]
    return [*signs, "import mmengine"] if _IMPORT_OF_1X.search(source) else signs


def _of_python(source: bytes) -> set[str]:
    """The names that the top level of a module binds, also inside of an ``if``, a ``with`` or a ``try``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as an invalid escape: Python warns again when the config runs
        nodes: list[ast.AST] = [ast.parse(source)]
    names: set[str] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif node.id in _DYNAMIC:
                names.add(_ANYTHING)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign) and _is_object(node.value):
            nodes.append(node.value)  # a script that makes a network, for which ``model`` is a usual name
        elif not isinstance(node, _OTHER_SCOPES):
            nodes.extend(ast.iter_child_nodes(node))
    return names


def _is_object(value: ast.expr) -> bool:
    """Whether a value is made by a class, and so is no setting: ``nn.Linear(1, 2)``, ``Net().eval()``."""
    if not isinstance(value, ast.Call):
        return False
    parts = [part for node in ast.walk(value.func) if (part := _name_in(node))]
    return any(part[0].isupper() and not part.endswith(_SETTINGS_CLASSES) for part in parts)


def _name_in(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _of_json(source: bytes) -> set[str]:
    content = json.loads(source)
    return set(content) if isinstance(content, dict) else set()


def _of_yaml(source: bytes) -> set[str]:
    import yaml  # mmcv brings it

    from segplug_mmseg.yaml_files import YamlError, refuse_excess

    try:
        refuse_excess(source.decode("utf-8"))
        content = yaml.compose(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, YamlError) as error:
        raise ValueError(str(error)) from error
    return {str(key.value) for key, _ in content.value} if isinstance(content, yaml.MappingNode) else set()


_SETTINGS: Mapping[str, Callable[[bytes], set[str]]] = {
    ".py": _of_python,
    ".json": _of_json,
    ".yml": _of_yaml,
    ".yaml": _of_yaml,
}
"""The suffix of a config: what reads the names of its settings."""
