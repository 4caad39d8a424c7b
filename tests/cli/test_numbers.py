"""Numbers that no command takes, and empty values: every option of every installed command refuses them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import click
import pytest
from click.types import FloatParamType, IntParamType

from segplug import requests
from segplug.api import Segplug
from segplug.cli.commands import target_command
from segplug.cli.parameters import FiniteNumber, FiniteRange, WholeNumber, WholeRange
from segplug.cli.root import run_command_line
from segplug.errors import PluginError, UsageError
from segplug.groups import HOOKS
from segplug.installed import Provider
from segplug.options import build_options, require_number
from segplug.registry.discovery import command_entries, entries
from segplug.registry.loading import load_command
from segplug.registry.registry import Registry
from segplug.runtime.sinks import ScoreSink

SOURCES = ("load_model", "load_dataset")

NOT_NUMBERS = (
    "nan",
    "-nan",
    "inf",
    "-inf",
    "1e999",
    "-1e999",
    "99999999999999999999",
    "-99999999999999999999",
)


def providers(*hooks: str) -> Iterator[Provider]:
    for hook in hooks:
        for entry in entries(hook):
            try:
                yield Registry().provider(hook, entry.name)
            except PluginError:
                continue  # what is not usable here has no options


def commands() -> Iterator[click.Command]:
    yield from (target_command(provider) for provider in providers(*HOOKS))
    yield from (load_command(entry) for entry in command_entries())


def refuses(option: click.Parameter, value: str) -> bool:
    try:
        option.type.convert(value, option, None)
    except click.BadParameter:
        return True
    return False


def test_every_option_of_every_command_refuses_what_is_no_number() -> None:
    checked = 0
    for command in commands():
        for option in command.params:
            if isinstance(option.type, (click.IntRange, click.FloatRange, IntParamType, FloatParamType)):
                assert isinstance(option.type, (FiniteNumber, FiniteRange, WholeNumber, WholeRange)), (
                    option.opts
                )
                whole = isinstance(option.type, (click.IntRange, IntParamType))
                wrong = NOT_NUMBERS if whole else NOT_NUMBERS[:6]
                assert [value for value in wrong if not refuses(option, value)] == [], option.opts
                checked += 1
    assert checked > 50


def test_every_declared_number_refuses_what_is_no_number() -> None:
    """Python keywords, and ``KEY=VALUE`` of sources, data sets, backends, executors and add-ons."""
    checked = 0
    for provider in providers(*HOOKS, *SOURCES):
        for spec in provider.option_specs:
            if spec.type not in (int, float) or spec.mapping:
                continue
            wrong: list[Any] = [*(float(value) for value in NOT_NUMBERS[:6]), *NOT_NUMBERS[:6]]
            if spec.type is int:
                wrong += [*NOT_NUMBERS[6:], 10**20, -(10**20)]
            for value in wrong:
                given = value if spec.arity == 1 else [value] * (spec.arity or 1)
                with pytest.raises(UsageError, match=spec.name):
                    build_options(provider.options, {spec.name: given}, owner="x")
            checked += 1
    assert checked > 50


def test_every_declared_path_and_text_refuses_nothing() -> None:
    for provider in providers(*HOOKS, *SOURCES):
        for spec in provider.option_specs:
            if not spec.mapping and spec.type is not bool:
                with pytest.raises(UsageError, match=f"'{spec.name}' is empty"):
                    build_options(provider.options, {spec.name: ""}, owner="x")


@pytest.mark.parametrize(
    "arguments",
    [
        ("infer", "onnxruntime", ""),
        ("infer", "onnxruntime", "m.onnx", "--device", ""),
        ("infer", "onnxruntime", "m.onnx", "--device="),
        ("infer", "onnxruntime", "m.onnx", "--dataset", ""),
        ("infer", "onnxruntime", "m.onnx", "--classes", "a", ""),
        ("infer", "onnxruntime", "m.onnx", "--show-dir", ""),
        ("infer", "onnxruntime", "m.onnx", "--input-img", ""),
        ("export", "onnx", "c.py", "--output", ""),
        ("export", "onnx", "c.py", "--checkpoint", "", "--output", "o"),
        ("export", "onnx", "c.py", "--source", "", "--output", "o"),
        ("export", "triton", "m.onnx", "--output-folder", ""),
        ("analyze", "flops", ""),
        ("analyze", "flops", "c.py", "--html", ""),
        ("convert_weights", "publish", "", "o"),
        ("convert_weights", "publish", "w", ""),
    ],
)
def test_an_empty_argument_is_a_mistake(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["run", *arguments]) == 2
    before = arguments[arguments.index("") - 1] if "" in arguments else "--device"
    where = f"the value of {before}" if before.startswith("--") else "an argument"
    assert f"error: {where} is empty: name a value, or leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["key=", "key='a b'"])
def test_what_is_no_empty_argument(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run_command_line(["run", "export", "onnx", "none.py", "--cfg-options", value, "--output", "o"]) == 2
    )
    assert "is empty" not in capsys.readouterr().err


NAN = math.nan


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"unknown_below": NAN}, "unknown_below"),
        ({"unknown_below": -0.1}, "unknown_below"),
        ({"unknown_below": True}, "unknown_below"),
        ({"threads": 0}, "threads"),
        ({"threads": 1.5}, "threads"),
        ({"threads": 10**20}, "threads"),
        ({"threads": NAN}, "threads"),
        ({"batch_size": 0}, "batch"),
        ({"device": "", "metrics": ()}, "device"),
        ({"beta": NAN}, "beta"),
        ({"beta": math.inf}, "beta"),
        ({"beta": -1.0}, "beta"),
        ({"nan_to_num": NAN}, "nan_to_num"),
    ],
)
def test_the_python_api_refuses_them_too(tmp_path, keywords: dict[str, Any], named: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match=named):
        Segplug().evaluate(tmp_path / "m.onnx", backend="onnxruntime", dataset=tmp_path, **keywords)


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    for value in (np.int64(3), np.float32(3), np.float64(3), 3, 3.0, None):
        require_number("x", value, least=1, most=3)
    for value in (np.float32("nan"), np.uint64(2**64 - 1), "3", True):
        with pytest.raises(UsageError, match="x must be"):
            require_number("x", value)
    assert ScoreSink(beta=2.0).key == "scores"


def test_what_requests_check_are_fields_of_requests() -> None:
    kinds = [kind for kind in vars(requests).values() if isinstance(kind, type) and is_dataclass(kind)]
    known = {field.name for kind in kinds for field in fields(kind)}
    assert known.issuperset((*requests._COUNTS, *requests._NAMES))
