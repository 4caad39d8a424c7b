"""Greedy options take what mmseg's tools take, and leave the arguments alone."""

from __future__ import annotations

import click
import pytest

from segplug.cli.parameters import FiniteRange, GreedyCommand, GreedyOption, WholeRange, option_from_spec
from segplug.options import OptionSpec


def parse(*arguments: str) -> dict[str, object]:
    seen: dict[str, object] = {}
    command = GreedyCommand(
        "x",
        callback=lambda **values: seen.update(values),
        params=[
            click.Argument(["config"]),
            GreedyOption(["--cfg-options"], group="model", key_values=True),
            GreedyOption(["--shape"], group="output", type=int),
            GreedyOption(["--mean"], group="model", type=float),
            click.Option(["--verify"], is_flag=True),
        ],
    )
    command.main(list(arguments), standalone_mode=False)
    return seen


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("c.py", "--shape", "512", "1024", "--verify"), {"shape": (512, 1024), "verify": True}),
        (("c.py", "--shape", "512", "--shape", "1024"), {"shape": (512, 1024)}),
        (("c.py", "--shape=512", "1024"), {"shape": (512, 1024)}),
        (("c.py", "--mean", "-1", "2.5", "-1e-3"), {"mean": (-1.0, 2.5, -1e-3)}),
        (("--cfg-options", "a.b=1", "c=[1,2]", "c.py"), {"cfg_options": ("a.b=1", "c=[1,2]")}),
        (("--cfg-options=a=1", "b=2", "c.py"), {"cfg_options": ("a=1", "b=2")}),
        (("--shape", "512", "--", "c.py"), {"shape": (512,)}),
    ],
)
def test_values_are_taken_up_to_what_is_none(arguments: tuple[str, ...], expected: dict[str, object]) -> None:
    seen = parse(*arguments)
    assert seen["config"] == "c.py"
    assert {name: seen[name] for name in expected} == expected


def test_a_greedy_option_without_a_value_is_an_error() -> None:
    with pytest.raises(click.UsageError, match="requires an argument"):
        parse("c.py", "--shape", "--verify")


def test_a_switch_that_is_on_can_be_switched_off_by_every_name() -> None:
    spec = OptionSpec("fuse", bool, 1, True, "Fuse.", aliases=("--fused",))
    option = option_from_spec(spec, group="toy")
    assert option.opts == ["--fuse", "--fused"]
    assert option.secondary_opts == ["--no-fuse", "--no-fused"]


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "0", "x"])
def test_a_range_holds_finite_numbers_only(text: str) -> None:
    beta = FiniteRange(0, min_open=True)
    assert beta.convert("0.5", None, None) == 0.5
    with pytest.raises(click.BadParameter):
        beta.convert(text, None, None)


@pytest.mark.parametrize(("kind", "name"), [(WholeRange(1, 9), "integer"), (FiniteRange(1, 9), "float")])
def test_what_is_no_number_is_not_called_a_range(kind: WholeRange | FiniteRange, name: str) -> None:
    with pytest.raises(click.BadParameter, match=rf"'x' is not a valid {name}\.$"):
        kind.convert("x", None, None)
