"""Options that a provider declares once: flags, keywords and docs are made from the declaration.

A provider's ``options`` is a frozen dataclass whose fields are made with :func:`option`::

    @dataclass(frozen=True)
    class Options:
        opset: int = option(18, help="ONNX operator set.", minimum=18, maximum=23)
        output_kind: Literal["auto", "labels", "logits"] = option("auto", help="What the graph gives.")

Types: ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Literal`` of strings, a fixed-length tuple
of one of the numbers (``tuple[int, int]``), a tuple of any length (``tuple[str, ...]``), a
``Mapping[str, Any]`` (``KEY=VALUE`` on the command line, the values strings), each also ``| None``.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from segplug.errors import PluginError, UsageError

__all__ = [
    "NoOptions",
    "OptionSpec",
    "as_keywords",
    "build_options",
    "nearest",
    "option",
    "option_specs",
    "require_number",
]

_KEY = "segplug"
_SCALARS: tuple[type, ...] = (bool, int, float, str, Path)


@dataclass(frozen=True)
class NoOptions:
    """The options of a provider that declares none."""


@dataclass(frozen=True)
class OptionSpec:
    """One declared option, read from its dataclass field."""

    name: str
    """The keyword, with underscores; the flag is ``--`` and the name with dashes."""
    type: type
    """Scalar type of one value."""
    arity: int | None
    """1: one value; n: exactly n values; ``None``: any number of values."""
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    metavar: str | None = None
    aliases: tuple[str, ...] = ()
    output: bool = False
    """Names a file that is written."""
    mapping: bool = False
    """Takes keys and values; ``type`` is then that of a ``KEY=VALUE`` string."""

    @property
    def flag(self) -> str:
        """The command line's spelling."""
        return "--" + self.name.replace("_", "-")


def option(
    default: Any,
    *,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
    aliases: tuple[str, ...] = (),
    output: bool = False,
) -> Any:
    """Declare one option as a dataclass field.

    Args:
        default: The value when it is not given; ``None`` for "not given".
        help: One sentence for people, with units.
        minimum: Smallest number allowed.
        maximum: Largest number allowed.
        metavar: Name of the value in help texts.
        aliases: Other flag spellings (with dashes), for those who come from an older tool.
        output: The option names a file that a report writes. The report gets the path of a staged file; it is
            placed when every add-on has agreed.
    """
    metadata = {
        _KEY: {
            "help": help,
            "minimum": minimum,
            "maximum": maximum,
            "metavar": metavar,
            "aliases": aliases,
            "output": output,
        }
    }
    return dataclasses.field(default=default, metadata=metadata)


def option_specs(declaration: type) -> tuple[OptionSpec, ...]:
    """Read a provider's option dataclass.

    Raises:
        PluginError: it is no dataclass, or a field has a type that cannot be a flag.
    """
    if not dataclasses.is_dataclass(declaration):
        raise PluginError(f"the options {declaration!r} are not a dataclass")
    try:
        hints = typing.get_type_hints(declaration)
    except Exception as error:
        raise PluginError(f"the options of {declaration.__module__} cannot be read: {error}") from error
    return tuple(_spec(field, hints[field.name]) for field in dataclasses.fields(declaration))


def _spec(field: dataclasses.Field[Any], hint: Any) -> OptionSpec:
    details = dict(field.metadata.get(_KEY, {"help": ""}))
    if field.default is dataclasses.MISSING:
        raise PluginError(f"the option '{field.name}' has no default")
    if _is_mapping(hint):
        return OptionSpec(
            name=field.name, type=str, arity=None, default=field.default, mapping=True, **details
        )
    scalar, arity, choices = _shape_of(field.name, hint)
    if details.get("output") and (scalar is not Path or arity != 1):
        raise PluginError(f"the option '{field.name}' names an output, and is no Path")
    return OptionSpec(
        name=field.name,
        type=scalar,
        arity=arity,
        default=field.default,
        choices=choices,
        **details,
    )


def _is_mapping(hint: Any) -> bool:
    alternatives = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
    return any(
        typing.get_origin(item) in (dict, Mapping) and typing.get_args(item)[0] is str
        for item in (alternatives or (hint,))
    )


def _shape_of(name: str, hint: Any) -> tuple[type, int | None, tuple[str, ...]]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [item for item in arguments if item is not type(None)]
        if len(inner) == 1:
            return _shape_of(name, inner[0])
    elif origin is Literal and all(isinstance(item, str) for item in arguments):
        return str, 1, tuple(arguments)
    elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        scalar, arity, choices = _shape_of(name, arguments[0])
        if arity == 1:
            return scalar, None, choices
    elif origin is tuple and len(set(arguments)) == 1 and arguments[0] in _SCALARS:
        return arguments[0], len(arguments), ()
    elif hint in _SCALARS:
        return hint, 1, ()
    raise PluginError(f"the option '{name}' has a type that cannot be an option: {hint}")


def build_options(declaration: type, given: Mapping[str, Any], *, owner: str) -> Any:
    """Check keywords against a declaration and make its instance.

    Args:
        declaration: The provider's option dataclass.
        given: Keyword to value. Strings are converted (as on a command line), other values must
            already have the declared type.
        owner: Who the options belong to, for messages: ``export onnx``.

    Raises:
        UsageError: an option is unknown (the nearest are named), ill-typed or out of range.
    """
    specs = {spec.name: spec for spec in option_specs(declaration)}
    values: dict[str, Any] = {}
    for keyword, value in given.items():
        name = keyword.replace("-", "_")
        if name not in specs:
            raise unknown("option", keyword, specs, owner=owner)
        values[name] = _checked(specs[name], value, owner)
    return declaration(**values)


def as_keywords(given: Mapping[str, Any] | None, method: Callable[..., Any], *, flag: str) -> dict[str, Any]:
    """Options that one flag gave, as keywords of a method that passes them to a provider.

    Args:
        given: Keyword to value; ``None``: the flag was not given.
        method: The method.
        flag: The flag, for messages.

    Raises:
        UsageError: the method has a parameter of that name, which is no option of the provider.
    """
    keywords = {key.replace("-", "_"): value for key, value in (given or {}).items()}
    parameters = inspect.signature(method).parameters.values()
    own = {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    for key in keywords:
        if key in own:
            raise UsageError(f"{flag}: '{key}' has a flag of its own")
    return keywords


def _checked(spec: OptionSpec, value: Any, owner: str) -> Any:
    if value is None:
        if spec.default is None:
            return None
        raise UsageError(f"{owner}: option '{spec.name}' needs a value")
    if spec.mapping:
        return _key_values(spec, value, owner)
    if spec.arity == 1 or value == "":
        return _scalar(spec, value, owner)
    items = _split(value) if isinstance(value, str) else value
    if not isinstance(items, Iterable) or isinstance(items, Mapping):
        raise UsageError(f"{owner}: option '{spec.name}' takes a list, not {value!r}")
    result = tuple(_scalar(spec, item, owner) for item in items)
    if spec.arity is not None and len(result) != spec.arity:
        raise UsageError(f"{owner}: option '{spec.name}' takes {spec.arity} values, not {len(result)}")
    return result


def _split(text: str) -> list[str]:
    """Several values in one string, as in ``KEY=1,2,3``: between commas, or else between spaces."""
    return [item.strip() for item in text.strip("[]()").split(",")] if "," in text else text.split()


def _key_values(spec: OptionSpec, value: Any, owner: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if not isinstance(value, Iterable):
        raise UsageError(f"{owner}: option '{spec.name}' takes keys and values, not {value!r}")
    result = {}
    for pair in [value] if isinstance(value, str) else value:
        key, separator, item = str(pair).partition("=")
        if not separator or not key:
            raise UsageError(f"{owner}: option '{spec.name}' takes KEY=VALUE, not {pair!r}")
        result[key] = item
    return result


def _scalar(spec: OptionSpec, value: Any, owner: str) -> Any:
    if value == "" and spec.type is not bool:
        raise UsageError(f"{owner}: option '{spec.name}' is empty", hint="leave it out for its default")
    converted = _convert(spec, value)
    if converted is None:
        raise UsageError(f"{owner}: option '{spec.name}' must be {_kind(spec)}, not {value!r}")
    if spec.choices and converted not in spec.choices:
        raise UsageError(
            f"{owner}: option '{spec.name}' must be one of {', '.join(spec.choices)}, not {value!r}"
        )
    if spec.type in (int, float):
        require_number(f"{owner}: option '{spec.name}'", converted, least=spec.minimum, most=spec.maximum)
    return converted


def require_number(
    what: str,
    value: float | None,
    *,
    least: float | None = None,
    most: float | None = None,
    whole: bool = False,
) -> None:
    """Check a number that a user gave; ``None`` is not given.

    Args:
        what: Its name, for the message.
        value: The number.
        least: The smallest that is allowed.
        most: The largest that is allowed.
        whole: Whether it must be a whole number.

    Raises:
        UsageError: it is no number, not finite, not within the range, or does not fit into 64 bits.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"{what} must be a number, not {value!r}")
    if whole and not isinstance(value, Integral):
        raise UsageError(f"{what} must be a whole number, not {value}")
    if isinstance(value, Integral):
        if not -(2**63) <= value < 2**63:
            raise UsageError(f"{what} must be a number that fits into 64 bits")
    elif not math.isfinite(value):
        raise UsageError(f"{what} must be a finite number, not {value}")
    if (least is not None and value < least) or (most is not None and value > most):
        low, high = ("" if bound is None else f"{bound:g}" for bound in (least, most))
        raise UsageError(f"{what} must be within {low}..{high}, not {value}")


def _convert(spec: OptionSpec, value: Any) -> Any:
    """``value`` in the option's type, or ``None`` if it does not fit."""
    if spec.type is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        return value if isinstance(value, bool) else words.get(str(value).lower())
    if isinstance(value, bool):
        return None
    if spec.type is Path:
        return Path(value) if isinstance(value, (str, Path)) else None
    if spec.type is str:
        return value if isinstance(value, str) else None
    try:
        if spec.type is int and isinstance(value, float) and not value.is_integer():
            return None
        return spec.type(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _kind(spec: OptionSpec) -> str:
    if spec.choices:
        return "one of " + ", ".join(spec.choices)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    return names[spec.type]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` most probably means, if any is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(kind: str, word: str, known: Iterable[str], *, owner: str) -> UsageError:
    """The error for a word that is none of the known ones: the nearest, and all that there are."""
    names = sorted(known)
    guess = nearest(word, names)
    listing = ", ".join(names) if names else "none"
    return UsageError(
        f"{owner}: no {kind} '{word}'" + (f"; did you mean '{guess}'?" if guess else ""),
        hint=f"there are: {listing}",
    )
