"""Check the texts of a program: the names of operators, the expressions, and the names in its code.

PyTorch looks operators up by their dotted names in its own modules, ``torch.os.system`` included, and
writes Python code with the names of values, which it runs. Every text of the program is looked at: what
is known as an operator, an expression or a name is checked as such, and all other text may have no character
that ends a string in Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from segplug_torchscript.checks.expressions import check_condition, check_size
from segplug_torchscript.checks.findings import Finding, shown
from segplug_torchscript.checks.operators import harmless_operators

__all__ = ["check_texts"]

_TEXT = re.compile(r"[\w .,:;<>=+*/@%()-]*")
_ATEN = re.compile(r"torch\.ops\.aten\.([A-Za-z_0-9]+)\.([A-Za-z_0-9]+)")
_OTHER_OPERATORS = re.compile(
    r"_operator\.(eq|ne|le|ge|lt|gt|neg|pos|abs|mul|add|sub|floordiv|truediv|mod|pow|and_|or_|not_|getitem)"
    r"|math\.(trunc|ceil|floor|sqrt)"
    r"|torch\.sym_(not|int|float|ite|max|min|sqrt|sum)"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
)
_METADATA = frozenset({"nn_module_stack", "torch_fn", "from_node", "custom"})
"""Notes on nodes: PyTorch keeps them as they are. Not the lines of source code, which it writes into code."""
_ARGUMENT = "'as_string' of an operator"
"""The key of a text that PyTorch puts in quotes; no table can have this key."""
_BY_NAME = frozenset(
    {"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "as_string_to_argument"}
)
"""Tables whose keys are names of values."""
_NAMED = frozenset({"range_constraints", "config", "treespec_namedtuple_fields"})
_OBJECTS = frozenset({"custom_obj_values", "as_custom_obj", "custom_obj"})
_STRUCTURES = frozenset({"builtins.tuple", "builtins.list", "builtins.dict"})


def check_texts(content: Any) -> None:
    """Check every text in a part of a program (JSON types).

    Raises:
        Finding: one is not known to be harmless.
    """
    checks: Mapping[str, Callable[[str], None]] = {
        "target": _check_operator,
        "as_operator": _check_operator,
        "expr_str": cache(check_size),
        "guards_code": check_condition,
        "in_spec": _check_structure,
        "out_spec": _check_structure,
        "name": _check_name,
        "as_name": _check_name,
        "forward_arg_names": _check_name,
        _ARGUMENT: _check_printable,
    }
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(_parts(key, value))
        elif isinstance(value, list):
            waiting.extend((key, part) for part in value)
        elif isinstance(value, str):
            checks.get(key, _check_text)(value)


def _parts(key: str, table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The parts of a table whose texts are still to be checked."""
    if key == "metadata":
        for name in table:
            if name not in _METADATA:
                source = " (lines of its source code)" if name == "stack_trace" else ""
                raise Finding(f"has notes of another kind than sizes and types: {shown(name)}{source}")
        return []
    for name, value in table.items():
        if key in _BY_NAME:
            _check_name(name)
        elif key == "range_constraints":
            check_size(name)
        else:
            _check_text(name)
        if name in _OBJECTS and value:
            raise Finding("holds objects that are no tensors")
    if key in _BY_NAME or key in _NAMED:  # the keys of such a table are names, and no fields
        return [("", value) for value in table.values()]
    of_operator = key == "arg"
    return [
        (_ARGUMENT if of_operator and name == "as_string" else name, value) for name, value in table.items()
    ]


def _check_operator(text: str) -> None:
    found = _ATEN.fullmatch(text)
    if found is not None and found[1] in harmless_operators() and found[2] in _overloads(found[1]):
        return
    if not _OTHER_OPERATORS.fullmatch(text):
        raise Finding(f"uses {shown(text)}, which segplug does not know to be harmless")


@cache
def _overloads(name: str) -> frozenset[str]:
    import torch

    packet: Any = getattr(torch.ops.aten, name, None)
    return frozenset(packet.overloads()) if packet is not None else frozenset()


def _check_structure(text: str) -> None:
    """The nesting of inputs or outputs: tuples, lists and dicts of tensors."""
    try:
        _, structure = json.loads(text)
        waiting = [structure]
        while waiting:
            part = waiting.pop()
            if part["type"] is not None:
                keys = json.loads(part["context"])
                if part["type"] not in _STRUCTURES or not isinstance(keys, list | None):
                    raise ValueError
                for key in keys or ():
                    if not isinstance(key, str):
                        raise ValueError
                    _check_name(key)
            waiting.extend(part["children_spec"])
    except (ValueError, TypeError, KeyError) as error:
        raise Finding(f"takes or gives something else than tensors: {shown(text)}") from error


def _check_name(text: str) -> None:
    if text and not text.isidentifier():
        raise Finding(f"has a value named '{shown(text)}'")


def _check_printable(text: str) -> None:
    if not text.isprintable():
        raise Finding(f"has a text that segplug does not know to be harmless: {shown(text)}")


def _check_text(text: str) -> None:
    if not _TEXT.fullmatch(text):
        raise Finding(f"has a text that segplug does not know to be harmless: {shown(text)}")
