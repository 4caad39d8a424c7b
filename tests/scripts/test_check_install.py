"""``scripts/check_install.sh``: it has a job for each kind of user in README; CI runs the jobs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "check_install.sh"
KINDS = ["onnx", "torch", "transformers", "smp", "mmseg0", "mmseg1"]


def test_readme_has_a_line_for_each_kind_and_the_script_a_job() -> None:
    install = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Install\n")[1].split("\n## ")[0]
    lines = re.findall(r"^# ([a-z0-9]+): .+\n(.*\bpip install .+)$", install, re.MULTILINE)
    assert [kind for kind, _ in lines] == KINDS
    assert re.findall(r"^job_(\w+)\(\)", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE) == KINDS


def test_an_unknown_kind_is_one_line() -> None:
    done = subprocess.run([SCRIPT, "caffe"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"check_install.sh: README.md has no line for 'caffe'; its kinds are: {' '.join(KINDS)}\n"
    )


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which(
        "shellcheck"
    )
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, SCRIPT, ROOT / "scripts" / "setup.sh", ROOT / ".ci" / "run"], check=True)
