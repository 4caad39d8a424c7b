"""All that is printed goes through one place, which escapes what a terminal would obey."""

from __future__ import annotations

import ast
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segplug.cli.output import ConsoleReporter, Output
from segplug.cli.printing import only_documents, print_document
from segplug.cli.root import run_command_line
from segplug.results import Table
from segplug.serving.logs import log_handler

ROOT = Path(__file__).parents[2]

PRINTERS = {
    "segplug/cli/output.py",
    "segplug/cli/printing.py",
    "segplug/cli/stages.py",
    "segplug/cli/signals.py",  # one fixed line, where the rest of the command line is not imported yet
    "segplug/cli/streams.py",
    "segplug/serving/logs.py",
    # Its stderr is a file, whose end an error quotes.
    "plugins/analysis/src/segplug_analysis/benchmark/worker.py",
}

HOSTILE = "\x1b]0;title\x07\u202egnp.exe\u2028[/red][bold]:smile:\udcff"
SHOWN = r"\x1b]0;title\x07\u202egnp.exe\u2028[/red][bold]:smile:\xff"


def _prints(tree: ast.AST) -> Iterator[str]:
    """What prints in a module: ``print``, click's and rich's ways, and the streams themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if name in ("print", "echo", "secho", "Console", "StreamHandler", "print_exc", "showwarning"):
                yield name
            if name in ("write", "writelines") and ast.unparse(node.func).startswith("sys.std"):
                yield name


def test_nothing_else_prints() -> None:
    sources = [*ROOT.glob("segplug/**/*.py"), *ROOT.glob("*/*/src/**/*.py")]
    assert len(sources) > 200
    found = {
        path.relative_to(ROOT).as_posix(): sorted(set(_prints(ast.parse(path.read_text("utf-8")))))
        for path in sources
    }
    assert {name: calls for name, calls in found.items() if calls and name not in PRINTERS} == {}


def test_every_way_of_the_output_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.say(HOSTILE)
    output.text(HOSTILE)
    output.notes([HOSTILE])
    output.table(Table(HOSTILE, (HOSTILE, "number"), ((HOSTILE, 1),)))
    reporter = ConsoleReporter()
    reporter.note(HOSTILE)
    reporter.warn(HOSTILE)
    out, err = capsys.readouterr()
    assert out.count(SHOWN) == 6
    assert err == f"{SHOWN}\nwarning: {SHOWN}\n"
    assert not set("\x1b\x07\u202e\u2028\udcff") & set(out)


def test_a_bar_escapes_its_description(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown, deadline = "", time.monotonic() + 30
    with ConsoleReporter().progress(HOSTILE, 3) as bar:
        bar.advance()
        while SHOWN not in shown:  # it is drawn a few times a second
            assert time.monotonic() < deadline, shown
            time.sleep(0.01)
            shown += capsys.readouterr().err
    assert not set("\x07\u202e\u2028\udcff") & set(shown)


def test_logs_escape(capsys: pytest.CaptureFixture[str]) -> None:
    handler = log_handler(sys.stderr, "%(levelname)s %(message)s")
    handler.handle(logging.LogRecord("n", logging.WARNING, "p", 1, "%s", (HOSTILE,), None))
    assert capsys.readouterr().err == f"WARNING {SHOWN}\n"
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        failure = sys.exc_info()
    handler.handle(logging.LogRecord("n", logging.ERROR, "p", 1, "a\nERROR forged", (), failure))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [r"ERROR a\nERROR forged", "Traceback (most recent call last):"]
    assert lines[-1] == f"ValueError: {SHOWN}"


def test_a_line_cannot_forge_another(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).say("wrote a\nerror: forged")
    ConsoleReporter().warn("a\nerror: forged")
    out, err = capsys.readouterr()
    assert (out, err) == ("wrote a\\nerror: forged\n", "warning: a\\nerror: forged\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        ("run", HOSTILE),
        ("run", "export", HOSTILE),
        ("plugins", "show", HOSTILE),
        ("plugins", "list", f"--{HOSTILE}"),
        ("plugins", "list", HOSTILE),
    ],
)
def test_errors_escape_what_they_quote(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(arguments) == 2
    assert run_command_line([*arguments, "--debug", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["message"]
    assert not set("\x1b\x07\u202e\u2028\udcff") & set(out + err)
    (error, _) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert r"\x1b]0;title\x07\u202egnp.exe" in error


def test_a_document_is_valid_for_strict_parsers(capsys: pytest.CaptureFixture[str]) -> None:
    """Lone surrogates are escapes that UTF-8 has no bytes for."""
    print_document({"a\udcff": ["b\ud83d", float("nan"), "straße\u202e", ("c",)]})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a\\xff": ["b\\ud83d", None, "straße\u202e", ["c"]]}
    json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")


def test_stdout_is_kept_for_documents_where_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with only_documents(False):
        print("of a network")
    assert capsys.readouterr() == ("of a network\n", "")
    with only_documents(True):
        print("of a network")
        logging.StreamHandler(sys.stdout).emit(logging.makeLogRecord({"msg": "of its logger"}))
        with only_documents(True):
            print_document({"inner": 1})
        print_document({"outer": 1})
        print("later")
    print("after")
    assert capsys.readouterr() == (
        '{"inner": 1}\n{"outer": 1}\nafter\n',
        "of a network\nof its logger\nlater\n",
    )
