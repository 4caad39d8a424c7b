"""Check the code of a TorchScript file: it may use the classes of the file, and operators that compute.

The language is a part of Python's, and PyTorch writes it in plain ASCII without comments.
"""

from __future__ import annotations

import ast
import re
import tokenize
import warnings
from collections.abc import Iterator
from io import BytesIO

from segplug_torchscript.checks.findings import Finding, names, shown
from segplug_torchscript.checks.operators import HARMLESS_PRIMITIVES, harmless_operators, other_operators

__all__ = ["check_code"]

_BYTES = re.compile(rb"[\n -~]*")
_OPERATORS, _PRIMITIVES = "torch", "prim"
_FUNCTIONS = names(
    "int float bool complex str len range list dict tuple min max abs round pow sum all any isinstance "
    "getattr hasattr annotate unchecked_cast uninitialized ord chr zip enumerate"
)
_TYPES = names(
    "Tensor Optional List Dict Tuple Union NoneType number Device Module NamedTuple Enum Final Any "
    "Scalar Generator Exception AssertionError RuntimeError ValueError"
)
_VALUES = names("inf nan infj nanj CONSTANTS self __annotations__")
_STARTS = frozenset({_OPERATORS, "ops", "__torch__"})
"""Names that stand for modules. As a value of its own, a module would be a way around the lists."""
_NEVER = names("print fork awaitable awaitable_wait wait rpc_async rpc_sync rpc_remote open exec eval super")
"""Functions that do more than compute, also where the code has a value of the same name."""
_RUN_AT_LOADING = frozenset({"__setstate__", "__getstate__"})
_DEEPEST = 120
_KINDS = frozenset(
    (
        *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return),
        *(ast.Expr, ast.If, ast.For, ast.While, ast.Raise, ast.Assert, ast.Pass, ast.Break, ast.Continue),
        *(ast.Delete, ast.arguments, ast.arg, ast.keyword),
        *(ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Dict, ast.Compare, ast.Call, ast.Constant),
        *(ast.Attribute, ast.Subscript, ast.Starred, ast.Name, ast.List, ast.Tuple, ast.Slice),
    )
)
_SIGNS = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)


def check_code(name: str, source: bytes) -> ast.Module:
    """Check one module, and give its parts.

    Args:
        name: Of the entry, for messages.
        source: Its code.

    Raises:
        Finding: it uses something that is not on the lists, or cannot be parsed.
    """
    where = shown(name)
    if not _BYTES.fullmatch(source):
        raise Finding(f"holds code that PyTorch did not write: {where}")
    try:
        _refuse_comments(source, where)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.decode("ascii"))
    except (SyntaxError, ValueError, tokenize.TokenError) as error:
        raise Finding(f"holds code that cannot be read: {where}") from error
    _Checker(where).check(tree)
    return tree


def _refuse_comments(source: bytes, where: str) -> None:
    """PyTorch reads comments as types, and Python does not: the two must read the same code."""
    if b"#" not in source and b"\\" not in source:
        return
    lines: set[int] = set()
    for token in tokenize.tokenize(BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            raise Finding(f"holds code that PyTorch did not write: {where}")
        if token.type == tokenize.STRING:
            lines.update(range(token.start[0], token.end[0] + 1))
    for number, line in enumerate(source.split(b"\n"), start=1):
        if line.endswith(b"\\") and number not in lines:
            raise Finding(f"holds code that PyTorch did not write: {where}")


class _Checker:
    def __init__(self, where: str) -> None:
        self._where = where
        self._bound: set[str] = set()
        """The names that the code itself gives to values and classes."""
        self._used: set[str] = set()

    def check(self, tree: ast.AST) -> None:
        waiting = [(tree, 0)]
        while waiting:
            node, depth = waiting.pop()
            if depth > _DEEPEST:
                raise Finding(f"holds code that is nested too deeply: {self._where}")
            waiting.extend((part, depth + 1) for part in self._parts(node))
        never = self._used & (_NEVER | _STARTS)  # another function's value may have such a name
        unknown = never | (self._used - self._bound - _FUNCTIONS - _TYPES - _VALUES)
        if unknown:
            raise Finding(f"uses {shown(min(unknown))}, which segplug does not know to be harmless")

    def _parts(self, node: ast.AST) -> Iterator[ast.AST]:
        """Check a node, and give the parts of it that are still to be checked."""
        kind = type(node)
        if kind not in _KINDS:
            raise Finding(f"holds code with {kind.__name__}, which exported networks do not have")
        if isinstance(node, ast.Name):
            (self._used if isinstance(node.ctx, ast.Load) else self._bound).add(node.id)
            return iter(())
        if isinstance(node, ast.Attribute):
            return _after_names(node)
        if isinstance(node, ast.arg):
            self._bound.add(node.arg)
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            self._bound.add(node.name)
            if node.name in _RUN_AT_LOADING:
                raise Finding(f"runs code when it is opened: it has a method {node.name}")
            if node.decorator_list:
                raise Finding("holds code with decorators, which exported networks do not have")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            _check_getattr(node)
        return _children(node)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for field in node._fields:
        value = getattr(node, field, None)
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, ast.AST) and not isinstance(part, _SIGNS):
                yield part


def _check_getattr(node: ast.Call) -> None:
    """``getattr(x, "0")`` is ``x.0``: PyTorch writes so what is no name in Python."""
    name = node.args[1] if len(node.args) == 2 else None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        raise Finding("holds code with getattr of something else than a name")
    _refuse_operator(name.value)


def _refuse_operator(name: str) -> None:
    """An attribute of a value may be an operator: ``x.add_`` is ``torch.add_``."""
    if name in other_operators():
        raise Finding(f"uses torch.{shown(name)}, which segplug does not know to be harmless")


def _after_names(node: ast.Attribute) -> Iterator[ast.AST]:
    """Check a dotted name, and give what it begins with, if that is no module.

    A module can only be the beginning of a longer name: as a value of its own it would be a way around this.
    """
    path: list[str] = []
    value: ast.expr = node
    while isinstance(value, ast.Attribute):
        _refuse_operator(value.attr)
        path.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name) or value.id not in _STARTS:
        return iter((value,))
    path = [value.id, *reversed(path)]
    if path[0] == "__torch__":
        harmless = path[1:3] != ["torch", "classes"]
    elif path[0] == _OPERATORS:
        harmless = len(path) == 2 and (path[1] in harmless_operators() or path[1] == "device")
    else:
        operators = {_PRIMITIVES: HARMLESS_PRIMITIVES, "aten": harmless_operators()}
        harmless = len(path) == 3 and path[2] in operators.get(path[1], ())
    if not harmless:
        raise Finding(f"uses {shown('.'.join(path))}, which segplug does not know to be harmless")
    return iter(())
