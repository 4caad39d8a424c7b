"""What lies on Python's path: versions of the installed distributions, the state of their entry points."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from functools import cache
from typing import NamedTuple

__all__ = ["Installation", "installation", "installed_version"]


class Installation(NamedTuple):
    """What one look at every folder of ``sys.path`` shows."""

    versions: dict[str, str]
    """Normalised name of a distribution to its version, read from the names of metadata folders: parsing the
    metadata would take longer than all the rest of a listing."""
    state: str
    """Changes when any file of entry points is added, removed or written: a hash of times and sizes."""


@cache
def installation() -> Installation:
    """Look at the path once."""
    versions: dict[str, str] = {}
    state = hashlib.sha256()
    for folder in reversed(sys.path):  # the first on the path counts
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            continue
        for name in names:
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            if name.endswith(".dist-info"):
                distribution, _, version = name.removesuffix(".dist-info").rpartition("-")
                versions[_normalized(distribution)] = version
            try:
                found = os.stat(os.path.join(folder, name, "entry_points.txt"))
            except OSError:
                continue
            state.update(f"{folder}\0{name}\0{found.st_mtime_ns}\0{found.st_size}\n".encode())
    return Installation(versions, state.hexdigest())


def installed_version(distribution: str) -> str:
    """The version of an installed distribution; empty if it is not installed."""
    found = installation().versions.get(_normalized(distribution))
    if found is not None:
        return found
    from importlib import metadata  # for what is installed in another way than as a folder

    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return ""


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
