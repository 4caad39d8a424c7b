"""Link installed packages of one virtual environment into another, so that their files lie on the disk once.

    python scripts/link_packages.py SOURCE TARGET NAME...

Each file that a package's ``RECORD`` lists in ``site-packages`` becomes a hard link, its metadata too: pip
takes it for installed. pip replaces and removes files and never writes into one, so neither environment
changes the other. Commands in ``bin`` name their environment, and are left out.

A package is left to pip if the target has it, or if the source lacks it, has it not whole, or has it from
elsewhere than an index. Nothing is linked between two versions of Python or two file systems.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path


def site_packages(environment: Path) -> Path | None:
    """The folder of packages of a virtual environment, if it has this version of Python."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = environment / "lib" / version / "site-packages"
    return folder if folder.is_dir() else None


def link_packages(source: Path, target: Path, names: Iterable[str]) -> list[str]:
    """Link the packages ``names`` of one ``site-packages`` into another; return those that were linked."""
    linked = []
    for name in names:
        package = _installed(source, name)
        if package is not None and _installed(target, name) is None:
            files = _files(package)
            if files:
                for file in files:
                    _link(source / file, target / file)
                linked.append(name)
    return linked


def _installed(folder: Path, name: str) -> Distribution | None:
    return next(iter(Distribution.discover(name=name, path=[str(folder)])), None)


def _files(package: Distribution) -> list[Path]:
    """The package's files below ``site-packages``; none if it is not whole."""
    if package.read_text("direct_url.json") is not None:  # editable, or from a folder
        return []
    listed = [Path(file) for file in package.files or ()]
    files = [file for file in listed if ".." not in file.parts and not file.is_absolute()]
    there = [file for file in files if Path(package.locate_file(file)).is_file()]
    if any(file.suffix != ".pyc" for file in set(files).difference(there)):
        return []
    return sorted(there, key=lambda file: file.name == "INSTALLER")  # without it a package is not whole


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    os.link(source, target)


def main() -> None:
    """Link the packages that the command line names, and print which."""
    source, target = (site_packages(Path(name)) for name in sys.argv[1:3])
    if source is None or target is None or source.stat().st_dev != target.stat().st_dev:
        print("nothing to link: another version of Python, or another file system")
        return
    print("linked:", *link_packages(source, target, sys.argv[3:]))


if __name__ == "__main__":
    main()
