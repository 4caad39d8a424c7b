"""Find the module of the original network that a node of an ONNX graph belongs to.

Exporters write it to one of three places: the names of a node's weights
(``backbone.layer1.0.conv1.weight``), the node's metadata (torch's newer exporter), or its own name
(``/backbone/layer1/layer1.0/conv1/Conv``, torch's older exporter). Weights are tried first: a convolution
with a folded batch norm may have the name of the norm.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import onnx

__all__ = ["module_paths"]

_SCOPES = "pkg.torch.onnx.name_scopes"

_PathParts = tuple[str, ...]


def module_paths(nodes: Sequence[onnx.NodeProto], weights: Mapping[str, str]) -> list[str]:
    """The path of each node's module, without the prefix that all share; ``""``: unknown.

    Args:
        nodes: The nodes of the graph, in order.
        weights: Names of values to names of weights.
    """
    found = [_parts(node, weights) for node in nodes]
    shared = len(_common([parts for parts in found if parts]))
    return [".".join(parts[shared:]) for parts in found]


def _parts(node: onnx.NodeProto, weights: Mapping[str, str]) -> _PathParts:
    for value in node.input:
        name = weights.get(value, "")
        if "." in name and not name.startswith((".", "/")):
            return tuple(name.split(".")[:-1])
    scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), None)
    if scopes is not None:
        modules = [name for name in _names(scopes)[:-1] if name]
        return tuple(modules[-1].split(".")) if modules else ()
    return _from_name(node.name) if node.name.startswith("/") else ()


def _names(text: str) -> list[str]:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [str(name) for name in value] if isinstance(value, list) else []


def _from_name(name: str) -> _PathParts:
    """``/backbone/layer1/layer1.0/Conv``: the name of a list is repeated in its members' names."""
    parts: list[str] = []
    for scope in name.strip("/").split("/")[:-1]:
        pieces = scope.split(".")
        known = len(pieces) - 1
        if known and parts[-known:] == pieces[:-1]:
            pieces = pieces[-1:]
        parts += pieces
    return tuple(parts)


def _common(paths: Sequence[_PathParts]) -> _PathParts:
    """The longest prefix that all paths share, never a whole path."""
    shared: list[str] = []
    for level in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)
