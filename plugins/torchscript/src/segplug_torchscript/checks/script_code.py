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
"""Names that stand for modules, and are no values."""
_RUN_AT_LOADING = frozenset({"__setstate__", "__getstate__"})
_DEEPEST = 120
_STATEMENTS = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return),
    *(ast.Expr, ast.If, ast.For, ast.While, ast.Raise, ast.Assert, ast.Pass, ast.Break, ast.Continue),
    *(ast.Delete, ast.arguments, ast.arg, ast.keyword),
)
_EXPRESSIONS = (
    *(ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Dict, ast.Compare, ast.Call, ast.Constant),
    *(ast.Attribute, ast.Subscript, ast.Starred, ast.Name, ast.List, ast.Tuple, ast.Slice),
    *(ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop),
)


def check_code(name: str, source: bytes) -> None:
    """Check one module.

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
    known = _bound_names(tree)
    for node, depth in _walk(tree):
        if depth > _DEEPEST:
            raise Finding(f"holds code that is nested too deeply: {where}")
        _check_node(node, known)


def _refuse_comments(source: bytes, where: str) -> None:
    """PyTorch reads comments as types, and Python does not: the two must read the same code."""
    if b"#" not in source and b"\\" not in source:
        return
    tokens = tokenize.tokenize(BytesIO(source).readline)
    lines: set[int] = set()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            raise Finding(f"holds code that PyTorch did not write: {where}")
        if token.type == tokenize.STRING:
            lines.update(range(token.start[0], token.end[0] + 1))
    for number, line in enumerate(source.split(b"\n"), start=1):
        if line.endswith(b"\\") and number not in lines:
            raise Finding(f"holds code that PyTorch did not write: {where}")


def _walk(tree: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in ast.iter_child_nodes(node))


def _bound_names(tree: ast.AST) -> frozenset[str]:
    """The names that the code itself gives to values and classes."""
    found: set[str] = set()
    for node, _ in _walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
    return frozenset(found)


def _check_node(node: ast.AST, known: frozenset[str]) -> None:
    if not isinstance(node, (*_STATEMENTS, *_EXPRESSIONS)):
        raise Finding(f"holds code with {type(node).__name__}, which exported networks do not have")
    if isinstance(node, ast.FunctionDef):
        if node.name in _RUN_AT_LOADING:
            raise Finding(f"runs code when it is opened: it has a method {node.name}")
        if node.decorator_list:
            raise Finding("holds code with decorators, which exported networks do not have")
    elif isinstance(node, ast.Attribute):
        _check_attribute(node)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        allowed = _FUNCTIONS | _TYPES | _VALUES | _STARTS
        if node.id not in allowed and node.id not in known:
            raise Finding(f"calls {shown(node.id)}, which segplug does not know to be harmless")


def _check_attribute(node: ast.Attribute) -> None:
    """An attribute of a module is an operator; one of a value may be: ``x.add_`` is ``torch.add_``."""
    if node.attr in other_operators():
        raise Finding(f"uses torch.{shown(node.attr)}, which segplug does not know to be harmless")
    names = [node.attr]
    value: ast.AST = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name) or value.id not in _STARTS:
        return
    path = [value.id, *reversed(names)]
    if path[0] == "__torch__":
        harmless = path[1:3] != ["torch", "classes"]
    elif path[0] == _OPERATORS:
        harmless = len(path) == 2 and (path[1] in harmless_operators() or path[1] == "device")
    elif len(path) < 3:  # a part of the longer name, which is judged on its own
        harmless = path[1] in (_PRIMITIVES, "aten")
    else:
        operators = HARMLESS_PRIMITIVES if path[1] == _PRIMITIVES else harmless_operators()
        harmless = len(path) == 3 and path[1] in (_PRIMITIVES, "aten") and path[2] in operators
    if not harmless:
        raise Finding(f"uses {shown('.'.join(path))}, which segplug does not know to be harmless")
