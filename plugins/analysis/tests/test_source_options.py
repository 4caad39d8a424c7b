"""``--source`` and ``--source-options``: every report that loads a config passes them on to its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from analysis_support.parity_toys import (  # noqa: F401 (fixtures)
    Toys,
    images_fixture,
    install_fixture,
    toys_fixture,
)
from analysis_support.serving_toys import serve, write_pictures
from analysis_support.source_toys import Asked, asked_fixture  # noqa: F401 (fixture)

from segplug.api import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import UsageError

NETS = """
import torch


def net():
    return torch.nn.Conv2d(3, 2, 1)
"""


def analyze(*arguments: Any) -> int:
    return run_command_line(["run", "analyze", *map(str, arguments)])


@pytest.mark.parametrize(
    ("command", "methods"),
    [
        (("flops",), ["load_model"]),
        (("config",), ["config_text"]),
        (("config", "--graph"), ["config_text", "load_model"]),
        (("benchmark", "--runs", "1", "--warmup", "0"), ["load_model"]),
    ],
    ids=lambda value: "-".join(value[:2]),
)
def test_the_sources_own_options_reach_it(
    asked: Asked, command: tuple[str, ...], methods: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    target, *flags = command
    given = ("--source", "toy", "--source-options", "bias=2", "--cfg-options", "a=b")

    assert analyze(target, asked.config, *flags, *given) == 0, capfd.readouterr().err

    assert asked.log() == [{"method": method, "bias": 2, "cfg_options": {"a": "b"}} for method in methods]
    assert analyze(target, asked.config, *flags, "--source-options", "bais=2") == 2
    assert "did you mean 'bias'" in capfd.readouterr().err


def test_parity_makes_the_files_of_the_network_that_the_options_describe(
    asked: Asked, toys: Toys, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*bias: str) -> list[str]:
        toys.forget()
        code = analyze(
            *("parity", asked.config, asked.checkpoint, "--dataset", images, "--backend", "toyengine"),
            *("--work-dir", tmp_path / "work", "--source", "toy", "--source-options", *bias),
        )
        assert code == 0, capfd.readouterr().err
        return [entry["hook"] for entry in toys.log()]

    assert run("bias=2") == ["export", "build"]
    assert [(entry["method"], entry["bias"]) for entry in asked.log()] == [
        ("load_model", 2),
        ("config_text", 2),
    ]
    assert run("bias=2") == []
    # Neither the metadata nor the text of the config shows that this is another network.
    assert run("bias=-2") == ["export", "build"]


def test_serving_compares_with_the_network_that_the_options_describe(
    asked: Asked, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = write_pictures(tmp_path / "pictures", 1)
    session = Segplug()
    model = session.load_model(asked.config, bias=2)
    asked.log()

    def run(bias: int) -> int:
        return analyze(
            *("serving", "--url", served.url, "--image", *images, "--requests", "1", "--concurrency", "1"),
            *("--config", asked.config, "--checkpoint", asked.checkpoint),
            *("--source", "toy", "--source-options", f"bias={bias}"),
        )

    with session.open(model, backend="pytorch") as engine, serve(engine) as served:
        assert run(2) == 0, capfd.readouterr().err
        assert run(-2) == 1  # every pixel has the other label
    assert [entry["bias"] for entry in asked.log()] == [2, -2]


@pytest.mark.parametrize("flags", [("--source-options", "input_size=32,64"), ("--input-size", "32", "64")])
def test_the_options_of_a_plain_module_are_flags_too(
    tmp_path: Path, flags: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    tmp_path.joinpath("nets.py").write_text(NETS)
    location = f"python:{tmp_path / 'nets.py'}:net"

    def run(*command: str) -> dict[str, Any]:
        assert analyze(command[0], location, *command[1:], *flags, "--json") == 0
        data: dict[str, Any] = json.loads(capfd.readouterr().out)
        return data

    shape = {"batch": 1, "channels": 3, "height_pixels": 32, "width_pixels": 64}
    assert run("flops")["input"] == shape
    (found,) = run("benchmark", "--runs", "1", "--warmup", "0")["candidates"]
    assert found["input_shape"] == [1, 3, 32, 64]


@pytest.mark.parametrize("channels", [1, pytest.param(4, marks=pytest.mark.slow), 13])
def test_reports_are_about_images_of_the_models_channels(asked: Asked, channels: int) -> None:
    options = {"source_options": {"channels": channels, "stride": 2}}
    session = Segplug()

    flops = session.analyze("flops", asked.config, **options).data
    assert flops["input"]["channels"] == channels
    assert flops["macs"] == 2 * channels * 4 * 8
    graph = session.analyze("config", asked.config, graph=True, **options).data
    assert graph["shape"] == [1, channels, 8, 16]
    assert graph["modules"][0]["outputs"] == ((1, 2, 4, 8),)
    (timed,) = session.analyze("benchmark", asked.config, runs=1, warmup=0, **options).data["candidates"]
    assert timed["input_shape"] == [1, channels, 8, 16]


@pytest.mark.parametrize("command", [("flops",), ("config", "--graph"), ("benchmark", "--runs", "1")])
def test_what_cannot_be_expressed_is_an_error_or_a_note(
    asked: Asked, command: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    target, *flags = command
    blurs = (*flags, "--source-options", "blurs=true")

    assert analyze(target, asked.config, *blurs) == 1
    assert "the step Blur cannot be expressed (--approximate leaves it out)" in capfd.readouterr().err

    assert analyze(target, asked.config, *blurs, "--approximate") == 0
    assert "note: approximate: the step Blur is left out" in "".join(capfd.readouterr())


@pytest.mark.parametrize("target", ["flops", "benchmark"])
def test_a_flag_of_its_own_is_no_option_of_the_source(asked: Asked, target: str) -> None:
    with pytest.raises(UsageError, match="--source-options: 'for_training' has a flag of its own"):
        Segplug().analyze(target, asked.config, source_options={"for-training": True})
    assert not asked.log()


@pytest.mark.parametrize("report", ["confusion", "parity"])
def test_the_same_holds_for_the_source_of_the_data_set(
    report: str, asked: Asked, toys: Toys, images: Path
) -> None:
    subjects = (images,) if report == "confusion" else (asked.config, asked.checkpoint)
    options = {"dataset": str(images), "dataset_options": {"source": "folder"}}
    with pytest.raises(UsageError, match="--dataset-options: 'source' has a flag of its own"):
        Segplug().analyze(report, *subjects, **options)
