"""A command has the flags of the source that the location, --source or a folder names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segplug.cli.root import run_command_line

SOURCE = """
    from types import SimpleNamespace
    from dataclasses import dataclass
    from segplug import ModelMeta, SegmentationModel, hookimpl, option
    from segplug.providers import Confidence, ModelSource

    @dataclass(frozen=True)
    class Options:
        mean: tuple[float, float, float] | None = option(None, help="Mean.")
        classes: tuple[str, ...] = option((), help="Class names.")
        depth: int = option(1, help="Taken by the report itself.")

    class Acme(ModelSource[Options]):
        hook_version = 2
        options = Options

        def accepts(self, location):
            if location.startswith("acme:"):
                return Confidence.SURE
            kinds = {"folder.acme": Confidence.LIKELY, "perhaps.acme": Confidence.POSSIBLE}
            return kinds.get(location, Confidence.NO)

        @hookimpl
        def load_model(self, request):
            meta = ModelMeta(name=str(request.options))
            network = SimpleNamespace(state_dict=dict)
            return SegmentationModel(module=network, meta=meta, exportable=lambda: None)

    provider = Acme()
"""

REPORT = """
    from collections.abc import Mapping
    from dataclasses import dataclass
    from typing import Any
    from segplug import hookimpl, option
    from segplug.providers import Report
    from segplug.results import AnalyzeReport

    @dataclass(frozen=True)
    class Options:
        depth: int = option(2, help="Depth.")
        source: str | None = option(None, help="Source.")
        source_options: Mapping[str, Any] | None = option(None, help="Options of the source.")

    class Name(Report[Options]):
        hook_version = 2
        options = Options

        @hookimpl
        def analyze(self, request):
            options = request.options
            model = request.session.load_model(
                request.subjects[0], source=options.source, **(options.source_options or {})
            )
            return AnalyzeReport(title="name", data={"name": model.meta.name, "depth": options.depth})

    provider = Name()
"""


@pytest.fixture(autouse=True)
def _acme(install_plugin) -> None:
    install_plugin("acme", {"segplug.load_model": {"acme": "acme_source:provider"}}, acme_source=SOURCE)
    install_plugin("reports", {"segplug.analyze": {"name": "name_report:provider"}}, name_report=REPORT)


def loaded_with(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    code = run_command_line(["run", "analyze", "name", *arguments, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return dict(json.loads(printed.out))


def test_a_location_names_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    found = loaded_with(capsys, "acme:net", "--mean", "1", "2", "3.5", "--classes", "road", "a,b")
    assert found["name"] == "Options(mean=(1.0, 2.0, 3.5), classes=('road', 'a,b'), depth=1)"


def test_source_names_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = loaded_with(capsys, "net", "--source", "acme", "--mean", "1", "2", "3")
    assert "mean=(1.0, 2.0, 3.0)" in found["name"]


def test_a_folder_that_one_source_is_sure_to_read_names_it_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.acme").mkdir()
    (tmp_path / "perhaps.acme").mkdir()
    found = loaded_with(capsys, "folder.acme", "--mean", "1", "2", "3")
    assert "mean=(1.0, 2.0, 3.0)" in found["name"]
    assert run_command_line(["run", "analyze", "name", "perhaps.acme", "--mean", "1", "2", "3"]) == 2
    assert "No such option '--mean'" in capsys.readouterr().err


def test_flags_and_source_options_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    found = loaded_with(
        capsys, "acme:net", "--source-options", "classes=a,b", "depth=4", "--mean", "1", "2", "3"
    )
    assert found["name"] == "Options(mean=(1.0, 2.0, 3.0), classes=('a', 'b'), depth=4)"


def test_a_flag_of_the_command_stays_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    found = loaded_with(capsys, "acme:net", "--depth", "7")
    assert found["depth"] == 7
    assert "depth=1" in found["name"]


def test_help_lists_the_flags_of_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["run", "analyze", "name", "acme:net", "--help"]) == 0
    assert "Options of the source acme:" in capsys.readouterr().out
    assert run_command_line(["run", "analyze", "name", "--help"]) == 0
    assert "acme" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net", "--mean", "1", "2", "3"], "No such option '--mean'"),
        (["net.pt", "--mean", "1", "2", "3"], "there is no file or folder net.pt"),
        (["acme:net", "--mean", "1", "2"], "--mean"),
        (["acme:net", "--mean", "1", "2", "x"], "not a valid float"),
        (["net", "--source", "acne"], "did you mean 'acme'"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run_command_line(["run", "analyze", "name", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
