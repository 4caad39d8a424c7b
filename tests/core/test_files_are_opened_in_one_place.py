"""Every place that opens a file goes through segplug.regular_files, or says here why it need not.

A pipe makes whoever opens it wait for ever, and a device may have no end: a new place that opens what a user
names must not do it by itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

READERS = {
    "os.open",
    "io.open",
    "np.load",
    "np.fromfile",
    "np.loadtxt",
    "np.genfromtxt",
    "np.memmap",
    "torch.load",
    "torch.export.load",
    "torch.jit.load",
    "_jit.load",
    "onnx.load",
    "onnx.load_model",
    "onnx.checker.check_model",
    "datasets.load_from_disk",
    "safe_open",
    "load_file",
    "cv2.imread",
    "Image.open",
    "imread",
    "module.open",
    "module.TiffFile",
    "av.open",
    "zipfile.ZipFile",
    "ZipFile",
    "zipfile.is_zipfile",
    "tarfile.open",
    "gzip.open",
    "mmap.mmap",
    "shutil.copyfile",
    "shutil.copy",
    "shutil.copy2",
    "shutil.copytree",
    "Config.fromfile",
    "list_from_file",
    "onnxruntime.InferenceSession",
    "ort.InferenceSession",
    "runpy.run_path",
    "sqlite3.connect",
}
"""Calls that open a file for reading when they get a path."""
METHODS = {
    *("read_text", "read_bytes", "parse_from_file", "InferenceSession", "exec_module", "expanduser"),
    "from_pretrained",
}
"""Methods that open a file, of whatever object; and one that fails for the name of an unknown user."""

OWN = "a file that segplug itself has just written, or in its own folder"
HERE = "the one place"
SYSTEM = "a file of the system, such as /proc"
MEMORY = "gets content in memory, or a file that is open"
CHECKED = "gets a path that is checked before: the library opens it itself"

ALLOWED = {
    ("plugins/analysis/src/segplug_analysis/benchmark/worker.py", "open"): SYSTEM,
    ("plugins/analysis/src/segplug_analysis/confusion/results.py", "np.load"): CHECKED,
    ("plugins/analysis/src/segplug_analysis/confusion/results.py", "zipfile.is_zipfile"): CHECKED,
    ("plugins/analysis/src/segplug_analysis/flops/onnx_file.py", "onnx.load"): CHECKED,
    ("plugins/analysis/src/segplug_analysis/flops/onnx_shapes.py", "onnxruntime.InferenceSession"): MEMORY,
    ("plugins/analysis/src/segplug_analysis/machine.py", "?.read_text"): SYSTEM,
    ("plugins/analysis/src/segplug_analysis/parity/compare.py", "np.load"): OWN,
    ("plugins/analysis/src/segplug_analysis/parity/run.py", "np.load"): OWN,
    ("plugins/analysis/src/segplug_analysis/parity/run.py", "zipfile.ZipFile"): OWN,
    ("plugins/mmseg/src/segplug_mmseg/v0/config.py", "Config.fromfile"): CHECKED,
    ("plugins/mmseg/src/segplug_mmseg/v1/config.py", "Config.fromfile"): CHECKED,
    ("plugins/onnx/src/segplug_onnx/session.py", "onnxruntime.InferenceSession"): CHECKED,
    ("plugins/onnx/src/segplug_onnx/undefined.py", "mmap.mmap"): MEMORY,
    ("plugins/serve/src/segplug_serve/page.py", "?.read_bytes"): OWN,
    ("plugins/serve/src/segplug_serve/reader.py", "?.read_text"): SYSTEM,
    ("plugins/tensorrt/src/segplug_tensorrt/builder.py", "onnx.load"): CHECKED,
    ("plugins/tensorrt/src/segplug_tensorrt/building.py", "?.parse_from_file"): CHECKED,
    ("plugins/tensorrt/src/segplug_tensorrt/graphs/int8.py", "np.load"): OWN,
    ("plugins/tensorrt/src/segplug_tensorrt/graphs/int8.py", "onnx.load"): OWN,
    ("plugins/tensorrt/src/segplug_tensorrt/torch_compile.py", "shutil.copyfile"): OWN,
    ("plugins/torch/src/segplug_torch/python_source/factory.py", "?.exec_module"): CHECKED,
    ("plugins/torchscript/src/segplug_torchscript/archive.py", "zipfile.ZipFile"): MEMORY,
    ("plugins/torchscript/src/segplug_torchscript/checks/layout.py", "zipfile.ZipFile"): MEMORY,
    ("plugins/torchscript/src/segplug_torchscript/checks/program_archive.py", "torch.load"): MEMORY,
    ("plugins/torchscript/src/segplug_torchscript/jit.py", "_jit.load"): CHECKED,
    ("plugins/torchscript/src/segplug_torchscript/programs.py", "torch.export.load"): CHECKED,
    ("plugins/torchserve/src/segplug_torchserve/archive.py", "zipfile.ZipFile"): MEMORY,
    ("plugins/torchserve/src/segplug_torchserve/exporter.py", "shutil.copyfile"): OWN,
    (
        "plugins/transformers/src/segplug_transformers/datasets_source/rows.py",
        "datasets.load_from_disk",
    ): CHECKED,
    ("plugins/transformers/src/segplug_transformers/networks/tasks.py", "?.from_pretrained"): CHECKED,
    ("plugins/transformers/src/segplug_transformers/weights.py", "?.from_pretrained"): MEMORY,
    ("plugins/triton/src/segplug_triton/onnx_file.py", "onnxruntime.InferenceSession"): CHECKED,
    ("segplug/api/early.py", "zipfile.ZipFile"): MEMORY,
    ("segplug/checkpoint/npz.py", "zipfile.ZipFile"): MEMORY,
    ("segplug/checkpoint/pickles.py", "torch.load"): CHECKED,
    ("segplug/checkpoint/reading.py", "safe_open"): CHECKED,
    ("segplug/cli/streams.py", "os.open"): SYSTEM,
    ("segplug/commits.py", "open"): OWN,
    ("segplug/commits.py", "os.open"): OWN,
    ("segplug/locks.py", "os.open"): OWN,
    ("segplug/regular_files.py", "open"): HERE,
    ("segplug/regular_files.py", "os.open"): HERE,
    ("segplug/reports/document.py", "?.read_text"): OWN,
    ("segplug/runtime/georeference.py", "module.TiffFile"): CHECKED,
    ("segplug/runtime/georeference.py", "module.open"): CHECKED,
    ("segplug/runtime/journal.py", "open"): OWN,
    ("segplug/runtime/journal.py", "os.open"): OWN,
    ("segplug/runtime/raw.py", "zipfile.ZipFile"): OWN,
    ("segplug/runtime/reading/masks.py", "Image.open"): MEMORY,
    ("segplug/runtime/reading/npy.py", "np.load"): MEMORY,
    ("segplug/runtime/reading/tiff.py", "module.TiffFile"): MEMORY,
    ("segplug/runtime/reading/usual.py", "Image.open"): MEMORY,
    ("segplug/runtime/video.py", "av.open"): MEMORY,
    ("segplug/temporary.py", "?.read_text"): SYSTEM,
}


def _name(function: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    parts.append(function.id if isinstance(function, ast.Name) else "")
    return ".".join(reversed(parts))


def _mode(call: ast.Call, place: int) -> str:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    value = given[0] if given else call.args[place] if len(call.args) > place else ast.Constant("r")
    return str(value.value) if isinstance(value, ast.Constant) else "r"


def _opens(call: ast.Call) -> str | None:
    name = _name(call.func)
    last = name.rpartition(".")[2]
    if name == "open":
        return None if _mode(call, 1)[0] in "wx" else name
    if last == "open" and call.args and isinstance(call.args[0], ast.Constant):
        return None if str(call.args[0].value)[:1] in ("w", "x") else f"?.{last}"
    if name in READERS:
        writes = last == "ZipFile" and _mode(call, 1)[0] in "wx"
        return None if writes else name
    return f"?.{last}" if last in METHODS and not name.startswith("os.path.") else None


def _found() -> Iterator[tuple[str, str]]:
    sources = [*ROOT.glob("segplug/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    for path in sources:
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := _opens(node)):
                yield path.relative_to(ROOT).as_posix(), name


def test_files_are_opened_as_regular_files_only() -> None:
    found = set(_found())
    assert sorted(found - set(ALLOWED)) == [], "open the file with segplug.regular_files"
    assert sorted(set(ALLOWED) - found) == [], "no such call is left: remove the line"
