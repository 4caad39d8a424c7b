"""The files that a report's options name are staged, as what other hooks make is."""

from __future__ import annotations

from pathlib import Path

import pytest

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import RefusedError, UsageError

REPORT = """
    from dataclasses import dataclass
    from pathlib import Path
    from segplug import hookimpl, option
    from segplug.providers import Report
    from segplug.results import AnalyzeReport

    @dataclass(frozen=True)
    class Options:
        out: Path | None = option(None, help="The file to write.", output=True)
        other: Path | None = option(None, help="Another file to write.", output=True)
        fails: bool = option(False, help="Fail after writing.")

    class Words(Report[Options]):
        hook_version = 2
        options = Options

        @hookimpl
        def analyze(self, request):
            for path in (request.options.out, request.options.other):
                if path is not None:
                    path.write_text("new")
            if request.options.fails:
                raise ValueError("the report failed")
            return AnalyzeReport(title="words")

    provider = Words()
"""

RULE = """
    from segplug import AddOn, hookimpl
    from segplug.errors import RefusedError
    from segplug.options import NoOptions

    class Rule(AddOn[NoOptions]):
        hook_versions = {"analyze": 2}

        @hookimpl(wrapper=True)
        def analyze(self, request):
            yield
            raise RefusedError("no reports today")

    addon = Rule()
"""


@pytest.fixture
def session(install_plugin) -> Segplug:
    install_plugin("acme", {"segplug.analyze": {"words": "acme:provider"}}, acme=REPORT)
    return Segplug()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def test_files_are_placed_together(session: Segplug, folder: Path) -> None:
    session.analyze("words", "log", out=folder / "a.txt", other=folder / "b.txt")
    assert contents(folder) == {"a.txt": "new", "b.txt": "new"}
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_file_is_replaced_only_with_force(session: Segplug, folder: Path) -> None:
    (folder / "a.txt").write_text("old")
    with pytest.raises(UsageError, match="already exists"):
        session.analyze("words", "log", out=folder / "a.txt", other=folder / "b.txt")
    assert contents(folder) == {"a.txt": "old"}
    session.analyze("words", "log", out=folder / "a.txt", force=True)
    assert contents(folder) == {"a.txt": "new"}


def test_a_report_that_fails_or_is_refused_leaves_the_older_file(
    session: Segplug, folder: Path, install_plugin
) -> None:
    (folder / "a.txt").write_text("old")
    with pytest.raises(ValueError, match="the report failed"):
        session.analyze("words", "log", out=folder / "a.txt", force=True, fails=True)
    install_plugin("rules", {"segplug.addon": {"rule": "rules:addon"}}, rules=RULE)
    with pytest.raises(RefusedError):
        Segplug().analyze("words", "log", out=folder / "a.txt", other=folder / "b.txt", force=True)
    assert contents(folder) == {"a.txt": "old"}


def test_an_input_is_not_written_over_and_no_file_twice(session: Segplug, folder: Path) -> None:
    (folder / "log").write_text("old")
    with pytest.raises(UsageError, match="is an input"):
        session.analyze("words", folder / "log", out=folder / "log", force=True)
    with pytest.raises(UsageError, match="named twice"):
        session.analyze("words", "log", out=folder / "a.txt", other=folder / "a.txt")


def test_the_command_says_what_it_wrote(session: Segplug, folder: Path, capsys) -> None:
    out = folder / "a.txt"
    assert run_command_line(["run", "analyze", "words", "log", "--out", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
