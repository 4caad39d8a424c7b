"""Empty libraries with the names of TensorRT's, so that its real Python bindings import without them."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["TOOLS", "make_stubs", "missing_tools"]

TOOLS = ("cc", "readelf")


def missing_tools() -> list[str]:
    """The tools that make the stubs and are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def make_stubs(bindings: Path, folder: Path) -> list[str]:
    """Compile the libraries that the bindings link with into ``folder``; returns their names.

    Args:
        bindings: An unpacked ``tensorrt_bindings``, with its one extension module.
        folder: The folder to write to; ``LD_LIBRARY_PATH`` must name it.
    """
    (module,) = bindings.glob("*.so")
    needed = re.findall(r"\(NEEDED\).*\[(libnv[^\]]+)\]", _readelf("-d", module))
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _undefined(module)))
    for library in needed:
        named = [f"-Wl,-soname,{library}", "-o", str(folder / library)]
        subprocess.run(["cc", "-shared", "-fPIC", "-w", *named, str(source)], check=True)
    return needed


def _undefined(module: Path) -> list[str]:
    """The symbols that TensorRT's libraries must define.

    Symbols of libc and libstdc++ have a version. Symbols of this process (Python's own, ``dlopen``) must not
    be shadowed.
    """
    rows = [line.split() for line in _readelf("--dyn-syms", module).splitlines()]
    names = {row[7] for row in rows if len(row) == 8 and row[6] == "UND" and row[4] == "GLOBAL"}
    process = ctypes.CDLL(None)
    return sorted(name for name in names if "@" not in name and not hasattr(process, name))


def _readelf(what: str, module: Path) -> str:
    command = ["readelf", "-W", what, str(module)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
