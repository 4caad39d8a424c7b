"""Check that the values in a TorchScript file have the types that its code declares.

PyTorch does not: it reads an attribute at the place that the declared class has for it, whatever object is
there. An object of another class, or a shorter tuple, makes it read memory beyond the object.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from segplug_torchscript.checks.findings import Finding, shown

__all__ = ["Classes", "Device", "Object", "Tensor", "check_types", "declared_types"]

Classes = Mapping[str, Mapping[str, ast.expr]]
"""Full names of classes: their attributes' types."""

_PLAIN: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "bool": (bool,),
    "float": (float,),
    "number": (int, float),
    "str": (str,),
    "NoneType": (type(None),),
}
_DEEPEST = 40


class Object:
    """Stands for an object of a class in the file."""

    named = ""
    state: dict[Any, Any] | tuple[()] | None = None
    """The attributes by name; ``()``: it has something else; ``None``: nothing yet."""

    def __init__(self, *_: Any) -> None:
        """Take the arguments of a call: what has no attributes is refused later."""

    def __setstate__(self, state: Any) -> None:
        # PyTorch makes another object of a second state, and reads a state once: later changes do not count.
        if self.state is not None:
            raise Finding(f"holds an object with two states: {shown(self.named)}")
        self.state = dict(state) if isinstance(state, dict) else ()


class Tensor:
    """Stands for a tensor."""


class Device:
    """Stands for a device."""


def declared_types(module: str, tree: ast.Module) -> dict[str, dict[str, ast.expr]]:
    """The classes of one module.

    Raises:
        Finding: a name is declared twice.
    """
    classes: dict[str, dict[str, ast.expr]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        found: dict[str, ast.expr] = {}
        for name, kind in _attributes(node):
            if name in found:
                raise Finding(f"declares {shown(name)} twice")
            found[name] = kind
        if f"{module}.{node.name}" in classes:
            raise Finding(f"declares {shown(node.name)} twice")
        classes[f"{module}.{node.name}"] = found
    return classes


def _attributes(node: ast.ClassDef) -> Iterable[tuple[str, ast.expr]]:
    """``x : T``, and ``__annotations__["0"] = T`` for what is no name in Python."""
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id, part.annotation
        elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Subscript):
            key = part.targets[0].slice
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, part.value


def check_types(objects: Iterable[Object], classes: Classes) -> None:
    """Check the attributes of every object.

    Raises:
        Finding: one has another type than its class declares, or a type that is not known.
    """
    for item in objects:
        attributes = classes.get(item.named)
        if attributes is None or not isinstance(item.state, dict):
            raise Finding(f"holds an object without a class: {shown(item.named)}")
        for name, kind in attributes.items():
            if name in item.state and not _fits(item.state[name], kind, 0):
                raise Finding(f"holds a value of another type than {shown(f'{item.named}.{name}')} declares")


def _fits(value: Any, kind: ast.expr, depth: int) -> bool:
    if depth > _DEEPEST:
        return False
    if isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name):
        parts = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        return _fits_container(value, kind.value.id, parts, depth + 1)
    if isinstance(kind, ast.Name):
        if kind.id in ("Tensor", "Device"):
            return type(value) is (Tensor if kind.id == "Tensor" else Device)
        return type(value) in _PLAIN.get(kind.id, ())
    return isinstance(value, Object) and ast.unparse(kind) == value.named


def _fits_container(value: Any, name: str, parts: list[ast.expr], depth: int) -> bool:
    if name == "Optional" and len(parts) == 1:
        return value is None or _fits(value, parts[0], depth)
    if name == "List" and len(parts) == 1:
        return type(value) is list and all(_fits(each, parts[0], depth) for each in value)
    if name == "Dict" and len(parts) == 2:
        if not isinstance(value, dict):
            return False
        key, item = parts
        return all(_fits(one, key, depth) and _fits(other, item, depth) for one, other in value.items())
    if name == "Tuple":
        same = type(value) is tuple and len(value) == len(_members(parts))
        return same and all(
            _fits(each, part, depth) for each, part in zip(value, _members(parts), strict=True)
        )
    return False


def _members(parts: list[ast.expr]) -> list[ast.expr]:
    """The types in a tuple; ``Tuple[()]`` has none."""
    return [] if len(parts) == 1 and isinstance(parts[0], ast.Tuple) else parts
