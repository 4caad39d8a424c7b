"""Every place that could run what a file holds is listed here, with the reason why it may be there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]

DANGEROUS = re.compile(
    r"pickle\.(?:loads?|Unpickler)\b|_Unpickler\b|\btorch\.load\b|jit\.load\b|\bexport\.load\b|aoti_load_package"
    r"|yaml\.(?:load|unsafe_load|full_load|compose|parse|safe_load)\b|\bmarshal\b|\bshelve\b|allow_pickle=True"
    r"|engine_host_code_allowed|(?<![.\w])(?:eval|exec)\(|exec_module|weights_only=False"
)

KNOWN = {
    # with the restricted unpickler, and with the full one after --trust-checkpoint
    "segplug/checkpoint/pickles.py": {"torch.load": 2, "weights_only=False": 1},
    # restricted to arrays, and with the full one after --trust-results
    "plugins/analysis/src/segplug_analysis/confusion/pickles.py": {"pickle.Unpickler": 1, "_Unpickler": 3},
    # a .yaml config, as plain data
    "plugins/mmseg/src/segplug_mmseg/yaml_files.py": {"yaml.load": 1, "yaml.parse": 1},
    "plugins/mmseg/src/segplug_mmseg/recognise.py": {"yaml.compose": 1},
    "plugins/torchserve/src/segplug_torchserve/exporter.py": {"yaml.safe_load": 1},
    # the factory of a python: location, which is a program
    "plugins/torch/src/segplug_torch/python_source/factory.py": {"exec_module": 1},
    # with stand-ins for what it names, and with the restricted unpickler
    "plugins/torchscript/src/segplug_torchscript/checks/script_pickles.py": {"_Unpickler": 3},
    "plugins/torchscript/src/segplug_torchscript/checks/program_archive.py": {"torch.load": 1},
    # after the check or --trust-artifact, and by the exporters, which have just made the file
    "plugins/torchscript/src/segplug_torchscript/jit.py": {"jit.load": 2},
    "plugins/torchscript/src/segplug_torchscript/infer_torchscript.py": {"jit.load": 1},
    "plugins/torchscript/src/segplug_torchscript/load_torchscript.py": {"jit.load": 1},
    "plugins/torchscript/src/segplug_torchscript/export_torchscript.py": {"jit.load": 1},
    "plugins/torchscript/src/segplug_torchscript/programs.py": {"export.load": 1, "aoti_load_package": 1},
    # after the backend has opened the file
    "plugins/triton/src/segplug_triton/torchscript_file.py": {"jit.load": 1},
}


def test_nothing_else_runs_what_a_file_holds() -> None:
    """Also no TensorRT plan with a library in it: for that, engine_host_code_allowed would have to be set."""
    found: dict[str, Counter[str]] = {}
    for folder in ("segplug", "plugins", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "/tests/" in name or "/build/" in name:
                continue
            code = "\n".join(_code(line) for line in path.read_text(encoding="utf-8").splitlines())
            calls = Counter(DANGEROUS.findall(code))
            if calls:
                found[name] = calls
    assert found == {name: Counter(calls) for name, calls in KNOWN.items()}


def _code(line: str) -> str:
    """A line without its comment and without the texts of docstrings that mark code."""
    return re.sub(r"``[^`]*``|:func:`[^`]*`", "", re.sub(r"(^|  +)# .*", "", line))
