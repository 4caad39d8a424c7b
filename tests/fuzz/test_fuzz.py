"""Generated commands: every command, with valid, damaged and absurd input, ends as it should.

``SEGPLUG_SEED`` repeats a run; without it the seed is the date. A wrong case is printed with the command
that repeats it alone.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from random import Random

import pytest
from fuzz_driver.commands import all_commands
from fuzz_driver.report import Report, run_cases

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="memory is read from /proc")

SEED = int(os.environ.get("SEGPLUG_SEED") or date.today().strftime("%Y%m%d"))
COUNT = 90
"""Of the sample."""

SECONDS = 200.0
"""After which the sample begins no case, on a slow machine."""

LAPS = 21
"""How often the nightly run uses each command: once as it is, once with a damaged input, else changed."""


def _check(report: Report, said: list[str]) -> None:
    assert not report.failed, "\n".join([f"SEGPLUG_SEED={report.seed}", *said])


FAULTY = """
    from pathlib import Path
    from segplug import hookimpl
    from segplug.options import NoOptions
    from segplug.providers import WeightConverter

    class Faulty(WeightConverter[NoOptions]):
        '''Fails as no command may.'''
        hook_version = 2

        @hookimpl
        def convert_weights(self, request):
            source = Path(request.checkpoint)
            source.write_bytes(source.read_bytes() + b"x")
            Path("half-written").touch()
            print("\\x1b[31m")
            return 1 / 0

    faulty = Faulty()
"""


@pytest.mark.slow
def test_the_faults_of_a_new_plugin_are_found(install_plugin, tmp_path: Path, monkeypatch) -> None:
    site = install_plugin("acme-faulty", {"segplug.convert_weights": {"faulty": "acme:faulty"}}, acme=FAULTY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    names = [command.name for command in all_commands()]
    number = names.index("convert_weights faulty")
    report = run_cases(tmp_path / "run", SEED, [number], say=print)
    ((_, _, faults),) = report.failed
    assert "it shows a traceback" in faults
    assert "it says 0 error lines" in faults
    assert "it changes work/in/tiny.pth" in faults
    assert "it leaves work/half-written" in faults
    assert any("has control characters" in fault for fault in faults)


@pytest.mark.slow
def test_a_sample_of_generated_commands(tmp_path: Path, record_property) -> None:
    count = len(all_commands())
    numbers = Random(SEED).sample(range(count, LAPS * count), COUNT)
    said: list[str] = []
    report = run_cases(tmp_path, SEED, numbers, most_seconds=SECONDS, say=said.append)
    record_property("numbers", report.text())
    _check(report, said)
    assert report.cases


@pytest.mark.nightly
def test_all_generated_commands(tmp_path: Path, record_property) -> None:
    commands = all_commands()
    said: list[str] = []
    report = run_cases(
        tmp_path,
        SEED,
        range(LAPS * len(commands)),
        plain=lambda number: number % 29 == 0,
        processes=2,
        say=said.append,
    )
    record_property("numbers", report.text())
    _check(report, said)
    assert len(report.cases) >= 700
    assert report.reached >= 300
    for command in commands:
        assert report.kinds()[command.name]["valid"], command.name
        assert report.kinds()[command.name]["damaged"], command.name
