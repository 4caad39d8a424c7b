"""Which mmsegmentation is installed. Nothing of it is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Literal

from segplug.errors import MissingDependencyError

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
    found = []
    for name in _DISTRIBUTIONS:
        try:
            found.append(Installed(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    if len(found) > 1:
        raise MissingDependencyError(
            f"{' and '.join(map(str, found))} are both installed: both own the module `mmseg`, and overwrite "
            "each other's files",
            hint=f"pip uninstall {' '.join(one.distribution for one in found)}; then install one of them",
        )
    if found:
        return found[0]
    if importlib.util.find_spec("mmseg") is not None:  # a source folder on the path
        import mmseg.version

        return Installed("mmsegmentation", str(mmseg.version.__version__))
    raise MissingDependencyError("mmsegmentation is not installed", hint=INSTALL)
