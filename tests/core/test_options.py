"""One declaration, checked the same way for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from segplug.errors import PluginError, UsageError
from segplug.options import as_keywords, build_options, option, option_specs


@dataclass(frozen=True)
class Options:
    opset: int = option(18, help="Operator set.", minimum=18, maximum=25)
    kind: Literal["labels", "logits"] = option("labels", help="Output.")
    mean: tuple[float, float, float] | None = option(None, help="Mean.")
    names: tuple[str, ...] = option((), help="Names.")
    fast: bool = option(False, help="Fast.")
    share: float = option(0.5, help="Share.", minimum=0, maximum=1)
    cache: Path | None = option(None, help="Cache.")
    settings: Mapping[str, Any] | None = option(None, help="Settings.")


def build(**given: object) -> Options:
    result = build_options(Options, given, owner="export onnx")
    assert isinstance(result, Options)
    return result


def test_values_are_converted_to_the_declared_types() -> None:
    made = build(opset="20", mean="1 2 3.5", names=["a"], fast="true", cache="x/y")
    assert made == Options(opset=20, mean=(1.0, 2.0, 3.5), names=("a",), fast=True, cache=Path("x/y"))
    assert build() == Options()


@pytest.mark.parametrize("text", ["1 2 3.5", "1,2,3.5", "[1, 2, 3.5]", "(1,2,3.5)"])
def test_several_values_in_one_string(text: str) -> None:
    assert build(mean=text).mean == (1.0, 2.0, 3.5)
    assert build(names="traffic light,sky").names == ("traffic light", "sky")


def test_keys_and_values_are_a_mapping_or_pairs() -> None:
    assert build(settings={"a.b": 1}).settings == {"a.b": 1}
    assert build(settings=("a.b=1", "c=x=y")).settings == {"a.b": "1", "c": "x=y"}
    assert build(settings="a=1").settings == {"a": "1"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"opst": 1}, "no option 'opst'; did you mean 'opset'"),
        ({"opset": 17}, "within 18..25, not 17"),
        ({"opset": "many"}, "must be a whole number, not 'many'"),
        ({"opset": True}, "must be a whole number"),
        ({"opset": 18.5}, "must be a whole number"),
        ({"kind": "masks"}, "must be one of labels, logits"),
        ({"mean": (1, 2)}, "takes 3 values, not 2"),
        ({"mean": 5}, "takes a list"),
        ({"fast": "perhaps"}, "must be true or false"),
        ({"opset": None}, "needs a value"),
        ({"share": float("nan")}, "a finite number, not nan"),
        ({"share": 1.5}, "within 0..1, not 1.5"),
        ({"settings": 5}, "takes keys and values, not 5"),
        ({"settings": ["a"]}, "takes KEY=VALUE, not 'a'"),
    ],
)
def test_a_wrong_option_is_one_line_that_says_what_is_right(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(**given)
    assert message in str(caught.value)
    assert str(caught.value).startswith("export onnx: ")
    assert "\n" not in str(caught.value)


def test_an_undeclarable_option_is_the_plugin_authors_error() -> None:
    @dataclass(frozen=True)
    class Wrong:
        table: dict[str, int] = field(default_factory=dict)

    with pytest.raises(PluginError, match="'table' has no default"):
        option_specs(Wrong)


def test_options_as_keywords_of_a_method() -> None:
    def load(config: str, *, device: str = "cpu", **options: object) -> None: ...

    given = {"channel-order": "bgr", "mean": "1,2,3"}
    assert as_keywords(given, load, flag="--source-options") == {"channel_order": "bgr", "mean": "1,2,3"}
    assert as_keywords(None, load, flag="--source-options") == {}
    for name in ("device", "config"):
        with pytest.raises(UsageError, match=f"--source-options: '{name}' has a flag of its own"):
            as_keywords({name: "x"}, load, flag="--source-options")
