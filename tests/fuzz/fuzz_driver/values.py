"""Values for an option by its type: good ones, the borders of its range, and what is no value at all."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import click

__all__ = ["ANY", "FAILS", "REFUSED", "Value", "is_path", "value_of"]

ANY = frozenset({0, 1, 2})
FAILS = frozenset({1, 2})
REFUSED = frozenset({2})

TEXTS = (
    "x",
    "",
    " ",
    "a b",
    "-",
    "ünï",
    "\x1b[31mred\x07",
    "\u202eexe.gpj",
    "\udcff\udcfe",  # bytes that are not UTF-8, as Python holds them
    "line\nbreak",
    "=cmd|' /C calc'!A0",
    "../../x",
    "%s{}{0}$HOME",
    "a" * 5000,
    "nan",
    "0",
    "null",
    "[]",
    "__class__",
)
"""Odd texts: what strangers may put into names."""

_NO_NUMBERS = ("x", "", "1,5", "0x1g", "1e", "--", "\x1b[31m", "1 2")
_NOT_FINITE = ("nan", "inf", "-inf", "1e999", "NaN", "-Infinity")
_FLOATS = (0.0, -0.0, 1.0, 0.5, 1e-300, 1e300, -1.0)
_INTEGERS = (0, 1, 2, 3, -1, 2**31, 10**20)
_PAIRS = (
    "x",
    "=",
    "=1",
    "a=",
    "a=b",
    "a.b.c=1",
    "x=\x1b[31m",
    "a==",
    "\udcff=1",
    "a=[1,2",
    'a="[1, 2]"',
    "classes=3",
    "classes=in/classes.txt",
    "in_channels=4",
    "mean=nan",
    "data.test.img_dir=/dev/zero",
    "model.decode_head.num_classes=5",
    "model.type=x",
    "model.pretrained=x.pth",
)
_DEVICES = ("cpu", "", " ", "cuda", "cuda:99", "cpu:7", "gpu", "CPU", "cuda:-1", "\x1b[31m", "meta")
_URLS = (
    "http://127.0.0.1:1",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:1/a b",
    "http://127.0.0.1:1/\r\nX: y",
    "http://[::1",
    "http://",
    "https://127.0.0.1:1",
    "file:///etc/hostname",
    "ftp://127.0.0.1",
    "http://user:pass@127.0.0.1:1/x?y#z",
    "http://no.such.host.invalid",
    "\x1b[31m",
    "",
)
_PATH_WORDS = ("FILE", "FOLDER", "CONFIG", "IMAGE")
_WORK = frozenset({"runs", "warmup", "requests", "concurrency", "calibration_images", "readers"})
"""Options whose value is an amount of work, or of processes: a large one honestly costs much."""


@dataclass(frozen=True)
class Value:
    """The words of a value."""

    words: tuple[str, ...]
    codes: frozenset[int] = ANY
    """What a command may end with that has this value, and is valid otherwise."""


def is_path(option: click.Parameter) -> bool:
    """Whether the value is the path of a file or folder, as its type or its name in help texts says."""
    words = (option.metavar or "").split("|")
    return isinstance(option.type, click.Path) or any(word in _PATH_WORDS for word in words)


def value_of(option: click.Option, rng: Random) -> Value:
    """A value of an option that is no path."""
    kind = option.type
    if isinstance(kind, click.Choice):
        choices = [str(choice) for choice in kind.choices]
        return Value((rng.choice(choices),)) if rng.random() < 0.6 else _odd(rng.choice(TEXTS), choices)
    if isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
        return _numbers(option, rng)
    if "=" in (option.metavar or ""):
        pair = rng.choice(_PAIRS)
        return Value((pair,), ANY if "=" in pair[1:] else REFUSED)
    if option.metavar == "URL":
        return Value((rng.choice(_URLS),), FAILS)
    if option.name == "device":
        return Value((rng.choice(_DEVICES),))
    return Value((rng.choice(TEXTS),))


def _odd(text: str, choices: list[str]) -> Value:
    return Value((text,), ANY if text in choices else REFUSED)


def _numbers(option: click.Option, rng: Random) -> Value:
    if rng.random() < 0.2:
        return Value((rng.choice(_NO_NUMBERS),) * option.nargs, REFUSED)
    whole = isinstance(option.type, click.types.IntParamType)
    if not whole and rng.random() < 0.3:
        return Value((rng.choice(_NOT_FINITE),) * option.nargs, REFUSED)
    least, most = getattr(option.type, "min", None), getattr(option.type, "max", None)
    borders = [number for number in (least, most) if number is not None]
    numbers: list[float] = [*(_INTEGERS if whole else _FLOATS), *borders]
    numbers += [border + step for border in borders for step in (-1, 1)]
    if option.name in _WORK:
        numbers = [number for number in numbers if number <= 3]
    count = rng.randint(1, 3) if option.multiple else option.nargs
    chosen = [rng.choice(numbers) for _ in range(count)]
    outside = any(
        (least is not None and number < least) or (most is not None and number > most) for number in chosen
    )
    words = tuple(str(int(number)) if whole else repr(float(number)) for number in chosen)
    return Value(words, REFUSED if outside else ANY)
