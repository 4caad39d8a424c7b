"""The command line as a shell sees it: exit codes, one line for a mistake, JSON, light imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from segplug.cli.root import run_command_line
from segplug.groups import HOOKS

ECHO = """
    from collections.abc import Mapping
    from dataclasses import dataclass
    from typing import Any
    from segplug import hookimpl, option
    from segplug.errors import DatasetError
    from segplug.providers import Report
    from segplug.results import AnalyzeReport, Figure, Table

    @dataclass(frozen=True)
    class Options:
        cfg_options: Mapping[str, Any] | None = option(None, help="Settings.")
        depth: int = option(1, help="How deep to look.", minimum=1, maximum=9)
        keys: tuple[str, ...] = option((), help="What to look at.")

    class Echo(Report[Options]):
        '''Says what it was asked.'''
        hook_version = 2
        options = Options

        @hookimpl
        def analyze(self, request):
            if request.subjects[0] == "bug":
                raise KeyError("a bug")
            if request.subjects[0] == "bad":
                raise DatasetError("bad is no file", hint="name another")
            rows = tuple((key, request.options.depth) for key in request.options.keys)
            return AnalyzeReport(
                title="echo",
                data={
                    "subjects": list(request.subjects),
                    "keys": list(request.options.keys),
                    "nan": float("nan"),
                    "settings": dict(request.options.cfg_options or {}),
                },
                tables=(Table("keys", ("key", "depth"), rows),),
                figures=(Figure("curve", lambda: b"png", text=lambda screen: "_/- drawn"),),
                notes=("[depth] is not height",),
            )

    provider = Echo()
"""


@pytest.fixture
def echo(install_plugin) -> None:
    install_plugin("acme", {"segplug.analyze": {"echo": "acme:provider"}}, acme=ECHO)


def run(*arguments: str) -> int:
    return run_command_line(arguments)


def test_json_is_one_document_on_stdout(echo, capsys) -> None:
    assert run("run", "analyze", "echo", "a", "b", "--keys", "x", "y", "--depth", "3", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "subjects": ["a", "b"],
        "keys": ["x", "y"],
        "nan": None,
        "settings": {},
        "notes": ["[depth] is not height"],
        "failures": [],
    }
    assert "echo" in err


def test_people_read_tables(echo, capsys) -> None:
    assert run("run", "analyze", "echo", "a", "--keys", "weights") == 0
    out, _ = capsys.readouterr()
    assert "weights" in out
    assert "depth" in out
    assert "_/- drawn" in out
    assert "note: [depth] is not height" in out


def test_keys_and_values_leave_the_subjects_alone(echo, capsys) -> None:
    assert run("run", "analyze", "echo", "--cfg-options", "a.b=1", "c=2", "subject", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["settings"] == {"a.b": "1", "c": "2"}
    assert data["subjects"] == ["subject"]


def test_a_report_as_a_page_and_as_sheets(echo, capsys, tmp_path) -> None:
    page, sheets = tmp_path / "r.html", tmp_path / "csv"
    command = ("run", "analyze", "echo", "a", "--keys", "x", "--html", str(page), "--csv", str(sheets))
    assert run(*command) == 0
    assert "data:image/png;base64," in page.read_text()
    assert (sheets / "keys.csv").read_text() == '"key","depth"\n"x",1\n'
    assert f"wrote {page}" in capsys.readouterr().out

    assert run(*command) == 2
    out, err = capsys.readouterr()
    assert "already exists" in err
    assert out == ""  # refused before the work
    (sheets / "mine.csv").write_text("1\n")
    assert run(*command, "--force") == 0
    assert "also holds other CSV files: mine.csv" in capsys.readouterr().out
    assert (sheets / "notes.csv").read_text() == '"note"\n"[depth] is not height"\n'


def test_two_outputs_have_two_names(echo, capsys, tmp_path) -> None:
    name = str(tmp_path / "r")
    assert run("run", "analyze", "echo", "a", "--html", name, "--csv", name) == 2
    assert "is named twice" in capsys.readouterr().err
    assert list(tmp_path.glob("r*")) == []


def test_a_page_never_replaces_another_kind_of_file(echo, capsys, tmp_path) -> None:
    module = tmp_path / "nets.py"
    module.write_text("code")
    assert run("run", "analyze", "echo", "python:nets:build", "--html", str(module), "--force") == 2
    assert "does not end in .html" in capsys.readouterr().err
    assert module.read_text() == "code"


def test_a_report_never_writes_over_its_subject(echo, capsys, tmp_path) -> None:
    (tmp_path / "a.json").write_text("{}")
    subject = str(tmp_path / "a.json")
    assert run("run", "analyze", "echo", subject, "--html", subject, "--force") == 2
    assert "is an input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("run", "analyze", "echo", "bad"), 1, "error: bad is no file (name another)"),
        (("run", "analyze", "ecoh", "a"), 2, "did you mean 'echo'"),
        (("run", "analize", "echo", "a"), 2, "did you mean 'analyze'"),
        (("analyse", "x"), 2, "did you mean 'analyze'"),
        (("analyze", "ecoh", "a"), 2, "did you mean 'echo'"),
        (("analyze", "echo", "a", "--depth", "99"), 2, "(see segplug analyze echo --help)"),
        (("run", "analyze", "echo", "a", "--depth", "99"), 2, "(see segplug run analyze echo --help)"),
        (("run", "analyze", "echo", "a", "--dept", "3"), 2, "--depth"),
        (("run", "analyze", "echo", "a", "--depth", "99"), 2, "1<=x<=9"),
        (("run", "analyze", "echo"), 2, "Missing argument"),
        (("plugins", "show", "ehco"), 2, "did you mean 'echo'"),
    ],
)
def test_a_mistake_is_one_line_and_the_right_exit_code(
    echo, capsys, arguments: Sequence[str], code: int, expected: str
) -> None:
    assert run(*arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert expected in err
    assert err.count("\n") == 1


def test_an_error_is_json_too(echo, capsys) -> None:
    assert run("run", "analyze", "echo", "bad", "--json") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["type"] == "DatasetError"
    assert err.startswith("error: ")


def test_debug_shows_where_it_was_raised(echo, capsys) -> None:
    assert run("run", "analyze", "echo", "bad", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(echo) -> None:
    with pytest.raises(KeyError, match="a bug"):
        run("run", "analyze", "echo", "bug")


def test_dashes_and_underscores_in_hook_names_are_the_same(capsys) -> None:
    assert run("run", "build-engine") == 0
    first = capsys.readouterr().out
    assert run("run", "build_engine") == 0
    assert capsys.readouterr().out == first


def test_a_hook_needs_no_run_before_it(echo, capsys) -> None:
    assert run("analyze", "echo", "a", "--json") == 0
    assert json.loads(capsys.readouterr().out)["subjects"] == ["a"]
    assert run("build-engine") == 0
    out, _ = capsys.readouterr()
    assert "Usage: segplug build_engine [OPTIONS] TARGET" in out
    assert "segplug build_engine TARGET --help" in out
    assert run("--help") == 0
    out, _ = capsys.readouterr()
    assert all(f"  {hook} " in out for hook in HOOKS)
    assert "  run " not in out


def test_a_plugins_command_never_replaces_a_hook(install_plugin, capsys) -> None:
    source = "import click\ncommand = click.Command('export', callback=lambda: print('stolen'))"
    install_plugin("thief", {"segplug.command": {"export": "thief:command"}}, thief=source)
    assert run("export") == 0
    out, _ = capsys.readouterr()
    assert "onnx" in out
    assert "stolen" not in out


def test_a_declared_option_cannot_take_a_shared_flag(install_plugin, capsys) -> None:
    source = ECHO.replace("depth: int", "debug: int").replace("request.options.depth", "1")
    install_plugin("acme", {"segplug.analyze": {"echo": "acme:provider"}}, acme=source)
    assert run("run", "analyze", "echo", "a") == 1
    assert "declares an option that segplug has itself" in capsys.readouterr().err


def test_plugins_list_shows_what_is_broken(install_plugin, capsys) -> None:
    install_plugin(
        "ill", {"segplug.analyze": {"ill": "ill:provider"}}, ill="raise OSError('libnpu.so: gone')"
    )
    assert run("plugins", "list", "--json") == 0
    capsys.readouterr()
    assert run("plugins", "list", "--check", "--json") == 1
    records = json.loads(capsys.readouterr().out)
    (record,) = [record for record in records if record["target"] == "ill"]
    assert record["status"] == "broken"
    assert "libnpu.so: gone" in record["reason"]


def test_plugins_show_describes_the_options(echo, capsys) -> None:
    assert run("plugins", "show", "echo", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert [option["flag"] for option in record["options"]] == ["--cfg-options", "--depth", "--keys"]
    assert record["help"] == "Says what it was asked."


HEAVY = (
    "numpy",
    "torch",
    "mmcv",
    "mmseg",
    "onnx",
    "onnxruntime",
    "cv2",
    "PIL",
    "segplug_mmseg",
    "segplug_onnx",
)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("run",),
        ("run", "export", "--help"),
        ("infer",),
        ("predict", "--help"),
        ("plugins", "list"),
        ("--version",),
    ],
)
def test_asking_what_there_is_imports_no_plugin_and_no_numpy(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; from segplug.cli.root import run_command_line; "
        f"code = run_command_line({list(arguments)!r}); "
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED [] 0" in done.stdout


def test_the_core_itself_imports_no_framework() -> None:
    heavy = [name for name in HEAVY if name != "numpy"]
    code = (
        "import sys, pkgutil, importlib, segplug\n"
        "for module in pkgutil.walk_packages(segplug.__path__, 'segplug.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        f"print('LOADED', sorted(set({heavy!r}) & set(sys.modules) - {{'cv2', 'PIL'}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["infer", "--input-img", "a.png", "m.onnx"], "segplug infer [TARGET] MODEL --input-img ..."),
        (["run", "export", "--verify", "onnx"], "segplug run export TARGET --verify ..."),
    ],
)
def test_flags_before_the_target_are_told_their_place(arguments: list[str], right: str, capsys) -> None:
    assert run_command_line(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"(flags come last: {right})")
