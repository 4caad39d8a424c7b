"""The files that an artifact names as parts of itself, resolved by one rule, whoever opens or copies them.

A companion lies in the folder of the artifact or below it, wherever links lead. So a model from somebody else
cannot name another file of the machine, which would then be read, or packed for a server. Where the artifact
is a link itself, its companions are looked for beside the link, and they may also lie in the folder of the
file that it leads to: the caches of model hubs keep both in one folder, and link to them from another.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from segplug.errors import ArtifactError
from segplug.regular_files import why_no_file

__all__ = ["check_companion", "named_companion", "require_companion"]


def named_companion(artifact: Path, name: str) -> Path:
    """The path of a file that an artifact names; it need not exist.

    Args:
        artifact: The artifact's main file.
        name: As the artifact names it, relative to its own folder.

    Raises:
        ArtifactError: it is not in the artifact's folder, as it is named or where links lead.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise _outside(artifact, name)
    check_companion(artifact, artifact.parent / name)
    return artifact.parent / name


def require_companion(artifact: Path, path: Path) -> None:
    """Check that a companion is there, before it is read or copied.

    Raises:
        ArtifactError: as :func:`check_companion`; or there is no such file, or it is a pipe or the like.
    """
    check_companion(artifact, path)
    if reason := why_no_file(path):
        raise ArtifactError(f"{artifact} lacks a part: {reason}")


def check_companion(artifact: Path, path: Path) -> None:
    """Check that a file may be a companion of an artifact, whether it exists or not.

    Raises:
        ArtifactError: it is not in the artifact's folder, as its path says or where links lead.
    """
    try:
        folder, named = os.path.abspath(artifact.parent), os.path.abspath(path)
        real = path.resolve()
        folders = {artifact.parent.resolve(), artifact.resolve().parent}
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links; a zero byte in the name
        raise _outside(artifact, path) from error
    if Path(folder) not in Path(named).parents or folders.isdisjoint(real.parents):
        raise _outside(artifact, path)


def _outside(artifact: Path, name: str | Path) -> ArtifactError:
    return ArtifactError(
        f"{artifact} needs {name}, which is outside of its folder",
        hint="put both into one folder, as files and not as links to elsewhere, or export the file again",
    )
