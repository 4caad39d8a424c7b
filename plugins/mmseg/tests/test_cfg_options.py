"""``--cfg-options`` beside mmcv's own (in 1.x mmengine's): equal, but for the spaces of texts."""

from __future__ import annotations

import argparse
import importlib
import random
from typing import Any

import pytest
from segplug_mmseg.cfg_options import parse_cfg_options
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.installed import installed_mmseg

from segplug.errors import UsageError


def framework_action() -> Any:
    import_mmseg()
    place = {"0.x": "mmcv", "1.x": "mmengine"}[installed_mmseg().generation]
    return importlib.import_module(place).DictAction


def parse_as_mmcv(text: str) -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=framework_action())
    return parser.parse_args(["--cfg-options", f"some.key={text}"]).cfg_options["some.key"]


def parse(text: str) -> Any:
    return parse_cfg_options({"some.key": text})["some.key"]


def without_spaces(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(without_spaces(item) for item in value)
    return value.replace(" ", "") if isinstance(value, str) else value


@pytest.mark.parametrize(
    "text",
    [
        *("1", "-2", "0.5", "1e-3", "1_0", "true", "False", "None", "none", "nan", "inf", "word", ""),
        *(
            "a,b",
            "[a,b]",
            "(1,2)",
            "[(1,2),(3,4)]",
            "(1,[a,(b,None)])",
            "[]",
            "()",
            "(1,)",
            "[[]]",
            "1,",
            ",1",
        ),
        *("[1, 2.5, x]", "( 480 , 360 )", "[ (1, 2), [3, 4] ]", " 5 ", "1 000"),
        *("'quoted'", '"quoted"', "'1'", "['a','b']", "'a','b'", "'a,b'", "' [1, 2] '"),
        *("a=b", "a=b,c=d", "http://x/?a=1&b=2", "dict(type='BN')", "a(b", "f(x)", "路,道"),
    ],
)
def test_values_are_those_of_mmcv(text: str) -> None:
    assert repr(parse(text)) == repr(parse_as_mmcv(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/data/my set", "/data/my set"),
        ("'/data/my set'", "/data/my set"),
        ('"/data/my set"', "/data/my set"),
        ("/data/set (2019) new/images", "/data/set (2019) new/images"),
        ("[my set, 'your set' , 3]", ["my set", "your set", 3]),
        ("(a b,c d)", ("a b", "c d")),
        ("a b,c d", ["a b", "c d"]),
        ("two  spaces", "two  spaces"),
    ],
)
def test_texts_keep_their_spaces(text: str, value: Any) -> None:
    assert parse(text) == value
    assert without_spaces(value) == parse_as_mmcv(text)


def test_generated_values_are_those_of_mmcv_but_for_spaces() -> None:
    action = framework_action()
    tokens = [*"()[](([],,,  '\"=a1.-", "True", "None", "false", "1e3", "nan", "x y", "路", "[1, 2]", "(a,b)"]
    generator = random.Random(0)
    parsed = 0
    for _ in range(2_000):
        text = "".join(generator.choices(tokens, k=generator.randint(0, 10)))
        try:
            expected = repr(action._parse_iterable(text))
        except (AssertionError, RecursionError):
            with pytest.raises(UsageError, match="brackets do not match"):
                parse(text)
        else:
            assert repr(without_spaces(parse(text))) == expected, text
            parsed += 1
    assert parsed > 500


def test_values_of_the_api_stay_what_they_are() -> None:
    given = {"a": (1, [2, 3]), "b": None, "c": {"type": "BN"}}
    assert parse_cfg_options(given) == given


@pytest.mark.parametrize("text", ["[1,(2]", "),(", "[" * 5000 + "]" * 5000])
def test_brackets_that_do_not_match(text: str) -> None:
    with pytest.raises(UsageError, match="brackets do not match"):
        parse(text)
