"""Empty libraries under TensorRT's names, so that its real Python bindings import without it."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["TOOLS", "make_stubs", "missing_tools"]

TOOLS = ("cc", "readelf")


def missing_tools() -> list[str]:
    """What is needed to make the stubs and is not there."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def make_stubs(bindings: Path, folder: Path) -> list[str]:
    """Compile what the bindings link with into ``folder``; the names of the libraries.

    Args:
        bindings: An unpacked ``tensorrt_bindings``, with its one extension module.
        folder: Where to write, to be named in ``LD_LIBRARY_PATH``.
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
    """The symbols that TensorRT's libraries must bring.

    Those of libc and libstdc++ carry a version; what this process knows (Python's own, ``dlopen``) must not
    be shadowed.
    """
    rows = [line.split() for line in _readelf("--dyn-syms", module).splitlines()]
    names = {row[7] for row in rows if len(row) == 8 and row[6] == "UND" and row[4] == "GLOBAL"}
    process = ctypes.CDLL(None)
    return sorted(name for name in names if "@" not in name and not hasattr(process, name))


def _readelf(what: str, module: Path) -> str:
    command = ["readelf", "-W", what, str(module)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
