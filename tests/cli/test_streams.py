"""The real command where stdout or stderr is full, closed, ASCII, or has no reader any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")

CONVERTS = """
    import sys
    from segplug import hookimpl
    from segplug.options import NoOptions
    from segplug.providers import WeightConverter
    from segplug.results import ConversionReport, Table

    class Notes(WeightConverter[NoOptions]):
        '''Writes, and notes.'''
        hook_version = 2

        @hookimpl
        def convert_weights(self, request):
            request.output.write_bytes(b"whole")
            request.reporter.warn("straße \\x1b[31m")
            table = Table("\\u202etürme", ("größe [/b]",), (("möwe [/b]",), ("\\x9b2J",)))
            return ConversionReport(call=request.call, destination=request.output, tables=(table,))

    notes = Notes()
"""


@pytest.fixture
def run(
    install_plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs ``segplug run convert_weights notes`` in a shell with these redirections and environment."""
    install_plugin("acme", {"segplug.convert_weights": {"notes": "acme:notes"}}, acme=CONVERTS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(b"weights")

    def runs(redirections: str = "", *flags: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        command = [
            sys.executable,
            "-m",
            "segplug",
            "run",
            "convert_weights",
            "notes",
            "w.pth",
            "o.pth",
            *flags,
        ]
        return subprocess.run(
            ["bash", "-c", f'"$@" {redirections}', "bash", *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            capture_output=True,
            timeout=60,
        )

    return runs


def test_the_plain_run(run) -> None:
    answer = run()
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.decode() == "warning: straße \\x1b[31m\n"
    out = answer.stdout.decode()
    assert all(text in out for text in (r"\u202etürme", "größe [/b]", "möwe [/b]", r"\x9b2J", "wrote "))
    assert not set("\x1b\x9b\u202e") & set(out)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_full_stdout_is_one_line_and_exit_code_1(run, tmp_path: Path, flags: tuple[str, ...]) -> None:
    answer = run(">/dev/full", *flags)
    lines = answer.stderr.decode().splitlines()
    assert lines[-1] == "error: stdout cannot be written: No space left on device"
    assert "Traceback" not in answer.stderr.decode()
    assert answer.returncode == 1
    assert (tmp_path / "o.pth").read_bytes() == b"whole"


@pytest.mark.parametrize("redirections", ["2>/dev/full", ">/dev/full 2>&1"])
def test_a_full_stderr_is_exit_code_1(run, tmp_path: Path, redirections: str) -> None:
    assert run(redirections).returncode == 1
    assert (tmp_path / "o.pth").read_bytes() == b"whole"


def test_the_exit_code_of_a_mistake_stays(run) -> None:
    assert run(">/dev/full 2>&1", "--no-such-flag").returncode == 2


def test_a_mistake_is_the_only_error_where_stdout_is_full(run) -> None:
    answer = run(">/dev/full", "--json", "--no-such-flag")
    lines = answer.stderr.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "warning"]
    assert lines[1] == "warning: stdout cannot be written: No space left on device"
    assert answer.returncode == 2


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_the_null_device(run, tmp_path: Path, redirections: str) -> None:
    """And no file that the run writes gets the number of one: what is printed would go into it."""
    answer = run(redirections)
    assert answer.returncode == 0, answer.stderr
    assert b"Traceback" not in answer.stderr
    assert (tmp_path / "o.pth").read_bytes() == b"whole"


def test_a_reader_that_has_ended_is_no_error_to_report(run, tmp_path: Path) -> None:
    answer = run("| true; exit ${PIPESTATUS[0]}")
    assert answer.stderr.decode().splitlines() in ([], ["warning: straße \\x1b[31m"])
    assert answer.returncode in (0, 1)  # 0: the pipe held what was written before its reader ended
    assert (tmp_path / "o.pth").read_bytes() == b"whole"


UNBUFFERED = """
    import os, sys
    from segplug.cli.streams import Streams

    streams = Streams()
    sys.stdout.write("out")
    sys.stderr.write("err")
    os._exit(0)
"""


def test_unbuffered_streams_stay_so() -> None:
    """Else the output of a container is lost when its process crashes."""
    command = [sys.executable, "-u", "-c", textwrap.dedent(UNBUFFERED)]
    answer = subprocess.run(command, capture_output=True, timeout=60)
    assert (answer.stdout, answer.stderr) == (b"out", b"err")


ASCII = (
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONUNBUFFERED": "1"},
)


@pytest.mark.parametrize("environment", ASCII)
def test_an_ascii_terminal_gets_escapes(run, environment: dict[str, str]) -> None:
    answer = run("", **environment)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.decode("ascii") == "warning: stra\\xdfe \\x1b[31m\n"
    assert r"m\xf6we [/b]" in answer.stdout.decode("ascii")


@pytest.mark.parametrize("environment", [{}, *ASCII])
def test_the_json_document_is_the_same_everywhere(run, tmp_path: Path, environment: dict[str, str]) -> None:
    answer = run("", "--json", **environment)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.decode("ascii"))["destination"].endswith("o.pth")


@pytest.mark.parametrize("folder", ["gone", "gone/below"])
def test_a_working_folder_that_was_removed_is_one_line(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    script = 'cd "$1" && rm -r "$2" && shift 2 && exec "$@"'
    command = [sys.executable, "-m", "segplug", "run", "analyze", "flops", str(tmp_path / "c.py")]
    answer = subprocess.run(
        ["bash", "-c", script, "bash", str(tmp_path / folder), str(tmp_path / "gone"), *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stderr == "error: the working folder has been removed (change to another folder)\n"
    assert (answer.returncode, answer.stdout) == (2, "")
