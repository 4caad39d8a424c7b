"""Which mmsegmentation is installed. Nothing of it is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segplug.errors import MissingDependencyError
from segplug.regular_files import MOST_TEXT, read_regular

__all__ = ["INSTALL", "Installed", "Name", "installed_mmseg"]

Name = Literal["0.x", "1.x"]
INSTALL = 'pip install "segplug-mmseg[mmseg1]" for mmsegmentation 1.x, "segplug-mmseg[mmseg0]" for 0.x'
_DISTRIBUTIONS = ("mmsegmentation", "onedl-mmsegmentation")
"""The distributions that own the module ``mmseg``."""


@dataclass(frozen=True)
class Installed:
    """The distribution that owns ``mmseg``."""

    distribution: str
    version: str

    @property
    def generation(self) -> Name:
        """The generation of its configs and classes."""
        return "0.x" if self.version.startswith("0.") else "1.x"

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


def installed_mmseg() -> Installed:
    """The installed mmsegmentation.

    Raises:
        MissingDependencyError: there is none; or there are two, which overwrite each other's files.
    """
    found = [Installed(name, version) for name in _DISTRIBUTIONS if (version := _version_of(name))]
    if len(found) > 1:
        raise MissingDependencyError(
            f"{' and '.join(map(str, found))} are both installed: both own the module `mmseg`, and overwrite "
            "each other's files",
            hint=f"pip uninstall {' '.join(one.distribution for one in found)}; then install one of them",
        )
    if found:
        return found[0]
    if version := _version_of_source():
        return Installed("mmsegmentation", version)
    raise MissingDependencyError("mmsegmentation is not installed", hint=INSTALL)


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version_of_source() -> str | None:
    """The version of an ``mmseg`` that is a folder on the search path, without metadata; ``None``: none."""
    spec = importlib.util.find_spec("mmseg")
    if spec is None or spec.origin is None:  # none, or a folder that an older installation left
        return None
    path = Path(spec.origin).with_name("version.py")
    text = read_regular(path, most_bytes=MOST_TEXT).decode("utf-8", "replace") if path.is_file() else ""
    match = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return match.group(1) if match else None
