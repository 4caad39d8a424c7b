"""Check the texts of a program that PyTorch evaluates as Python: sizes, and conditions on the input's sizes.

Sizes go through ``sympy.sympify``, conditions through ``exec``. Both may be sums and products of symbols,
numbers and the functions that PyTorch itself prints; powers and products are bounded, since the text
``9**9**9`` alone takes all time and memory.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

from segplug_torchscript.checks.findings import Finding, names, shown

__all__ = ["check_condition", "check_size"]

_SYMBOL = re.compile(r"(s|u|zf|zuf)[0-9]{1,6}")
"""The names of sizes that vary."""

_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{0,40})?(e[+-]?[0-9]{1,3})?")
_LARGE_EXPONENT = re.compile(r"[0-9._]e[+-]?[0-9_]{4}", re.IGNORECASE)
"""Of numbers that are infinite or 0 for Python, and for sympy have millions of digits."""
_INPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 20_000
_MOST_NODES, _DEEPEST = 4_000, 80
_MOST_TERMS, _MOST_BITS, _LARGEST_EXPONENT = 4_096, 4_096, 4

_MOST_CHOICES = 64
"""Arguments of all maxima and minima: sympy compares each with each."""
_CHOICES = frozenset({"Max", "Min", "max", "min"})
_POWERS = frozenset({"Pow", "PowByNatural", "FloatPow"})
_SUMS, _PRODUCTS = frozenset({"Add"}), frozenset({"Mul"})
_OF_SYMPY = names(
    "Add Mul Pow Integer Rational Float Symbol Max Min Eq Ne Le Lt Ge Gt And Or Not Equality "
    "Unequality GreaterThan LessThan StrictGreaterThan StrictLessThan BooleanTrue BooleanFalse Abs "
    "floor ceiling true false ITE sqrt FloorDiv ModularIndexing Where PythonMod Mod CleanDiv CeilToInt "
    "FloorToInt CeilDiv PowByNatural FloatPow FloatTrueDiv IntTrueDiv "
    "IsNonOverlappingAndDenseIndicator TruncToFloat TruncToInt RoundToInt RoundDecimal ToFloat "
    "Identity"
)
_ASSUMPTIONS = names("positive nonnegative negative nonpositive nonzero zero integer real finite even odd")
_OF_PYTHON = names(
    "max min abs int float bool round Max Min Mod PythonMod FloorDiv IsNonOverlappingAndDenseIndicator"
)
_MATH = names("ceil floor trunc sqrt isnan inf pow log2 fabs")
_SYMBOLIC = re.compile(r"sym_(float|int|ite|max|min|not|sqrt|sum)")
_INPUT_METHODS = frozenset({"size", "stride", "storage_offset"})

_SIGNS = (ast.USub, ast.UAdd, ast.Not, ast.Invert)
_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr)
_COMPARING = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def check_size(text: str) -> None:
    """Check a size, as sympy prints it: ``FloorDiv(Symbol('s0', positive=True, integer=True), Integer(2))``.

    Raises:
        Finding: it has something else than symbols, numbers and known functions, or grows too large.
    """
    _Checker(text, of_input=False).check()


def check_condition(text: str) -> None:
    """Check a condition on the input: ``(1 + ((L['x'].size()[3]) // 2)) != 1``.

    Raises:
        Finding: as :func:`check_size`.
    """
    _Checker(text, of_input=True).check()


@dataclass(frozen=True)
class _Growth:
    """How large a value may become when sympy expands it, or Python computes it."""

    terms: int = 1
    bits: int = 1

    def times(self, other: _Growth) -> _Growth:
        return _Growth(self.terms * other.terms, self.bits + other.bits)

    def plus(self, other: _Growth) -> _Growth:
        return _Growth(self.terms + other.terms, max(self.bits, other.bits) + 1)


class _Checker:
    def __init__(self, text: str, *, of_input: bool) -> None:
        self._text, self._of_input = text, of_input

    def check(self) -> None:
        if len(self._text) > _LONGEST or not self._text.isascii() or "\n" in self._text:
            raise self._odd()
        if _LARGE_EXPONENT.search(self._text):
            raise self._odd()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self._text, mode="eval")
        except (SyntaxError, ValueError) as error:
            raise self._odd() from error
        nodes = list(ast.walk(tree))
        calls = [node for node in nodes if isinstance(node, ast.Call) and _dotted(node.func) in _CHOICES]
        if len(nodes) > _MOST_NODES or sum(len(call.args) for call in calls) > _MOST_CHOICES:
            raise self._odd()
        self._growth(tree.body, 0)

    def _odd(self) -> Finding:
        return Finding(f"has an expression that segplug does not know to be harmless: {shown(self._text)}")

    def _growth(self, node: ast.AST, depth: int) -> _Growth:
        found = self._of(node, depth + 1)
        if depth > _DEEPEST or found.terms > _MOST_TERMS or found.bits > _MOST_BITS:
            raise self._odd()
        return found

    def _of(self, node: ast.AST, depth: int) -> _Growth:
        if isinstance(node, ast.Constant):
            return self._number(node.value)
        if isinstance(node, ast.Name):
            if (not self._of_input and _SYMBOL.fullmatch(node.id)) or node.id in ("true", "false"):
                return _Growth()
            if self._of_input and node.id == "inf":
                return _Growth()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, _SIGNS):
            return self._growth(node.operand, depth)
        elif isinstance(node, ast.BinOp):
            return self._binary(node, depth)
        elif isinstance(node, ast.Compare) and all(isinstance(op, _COMPARING) for op in node.ops):
            return self._sum([node.left, *node.comparators], depth)
        elif isinstance(node, ast.BoolOp):
            return self._sum(node.values, depth)
        elif isinstance(node, ast.Call):
            return self._call(node, depth)
        elif self._of_input and isinstance(node, ast.Subscript):
            return self._subscript(node, depth)
        elif self._of_input and isinstance(node, ast.Attribute) and _dotted(node) == "math.inf":
            return _Growth()
        raise self._odd()

    def _number(self, value: object) -> _Growth:
        if isinstance(value, int):  # and bool
            return _Growth(bits=max(1, value.bit_length()))
        if isinstance(value, float):
            return _Growth(bits=64)
        raise self._odd()

    def _sum(self, nodes: list[ast.expr], depth: int) -> _Growth:
        total = _Growth(terms=0)
        for node in nodes:
            total = total.plus(self._growth(node, depth))
        return total

    def _product(self, nodes: list[ast.expr], depth: int) -> _Growth:
        total = _Growth()
        for node in nodes:
            total = total.times(self._growth(node, depth))
        return total

    def _binary(self, node: ast.BinOp, depth: int) -> _Growth:
        if isinstance(node.op, ast.Pow):
            return self._power(node.left, node.right, depth)
        if not isinstance(node.op, _BINARY):
            raise self._odd()
        both = [node.left, node.right]
        return self._product(both, depth) if isinstance(node.op, ast.Mult) else self._sum(both, depth)

    def _power(self, base: ast.expr, exponent: ast.expr, depth: int) -> _Growth:
        if isinstance(exponent, ast.Call) and _dotted(exponent.func) == "Integer" and len(exponent.args) == 1:
            exponent = exponent.args[0]
        if isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub):
            exponent = exponent.operand
        half = isinstance(exponent, ast.Call) and ast.unparse(exponent) == "Rational(1, 2)"
        times = 1 if half else exponent.value if isinstance(exponent, ast.Constant) else None
        if not isinstance(times, (int, float)) or not times <= _LARGEST_EXPONENT:
            raise self._odd()
        total = grown = self._growth(base, depth)
        for _ in range(int(times)):
            total = total.times(grown)
        return total

    def _call(self, node: ast.Call, depth: int) -> _Growth:
        name = _dotted(node.func)
        if self._of_input and isinstance(node.func, ast.Attribute) and self._is_method_of_input(node):
            return self._growth(node.func.value, depth)
        if name is None or not self._is_known(name):
            raise self._odd()
        if name in ("Symbol", "Float"):
            return self._named(name, node)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self._odd()
        if name in _POWERS or name == "math.pow":
            if len(node.args) != 2:
                raise self._odd()
            return self._power(node.args[0], node.args[1], depth)
        if name in _PRODUCTS:
            return self._product(node.args, depth)
        return self._sum(node.args, depth)

    def _is_known(self, name: str) -> bool:
        if not self._of_input:
            return name in _OF_SYMPY
        module, _, function = name.rpartition(".")
        if module == "math":
            return function in _MATH
        return name in _OF_PYTHON if not module else module == "torch" and bool(_SYMBOLIC.fullmatch(function))

    def _named(self, name: str, node: ast.Call) -> _Growth:
        """``Symbol('s0', positive=True, integer=True)``, ``Float('0.5', precision=53)``."""
        text = node.args[0].value if len(node.args) == 1 and isinstance(node.args[0], ast.Constant) else None
        form = _SYMBOL if name == "Symbol" else _NUMBER
        if not isinstance(text, str) or not form.fullmatch(text):
            raise self._odd()
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if name == "Symbol":
                fits = keyword.arg in _ASSUMPTIONS and isinstance(value, bool)
            else:
                fits = keyword.arg == "precision" and type(value) is int and 0 < value <= 1000
            if not fits:
                raise self._odd()
        return _Growth(bits=64)

    def _is_method_of_input(self, node: ast.Call) -> bool:
        assert isinstance(node.func, ast.Attribute)
        plain = not node.args and not node.keywords
        return plain and node.func.attr in _INPUT_METHODS and isinstance(node.func.value, ast.Subscript)

    def _subscript(self, node: ast.Subscript, depth: int) -> _Growth:
        """``L['x']``, ``L['x'][0]``, ``L['x'].size()[2]``."""
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if not (type(key) is int or (isinstance(key, str) and _INPUT.fullmatch(key))):
            raise self._odd()
        value = node.value
        if isinstance(value, ast.Name):
            if value.id == "L" and isinstance(key, str):
                return _Growth(bits=64)
            raise self._odd()
        if not isinstance(value, (ast.Subscript, ast.Call)):
            raise self._odd()
        if isinstance(value, ast.Call) and not (
            isinstance(value.func, ast.Attribute) and self._is_method_of_input(value)
        ):
            raise self._odd()
        return self._growth(value, depth)


def _dotted(node: ast.AST) -> str | None:
    """The name ``a`` or ``a.b``; ``None`` for another expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None
