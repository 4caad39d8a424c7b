"""The files of a case: inputs copied and damaged before it, and what lies there before and after it."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from pathlib import Path
from random import Random
from typing import Any

from fuzz_driver.cases import Case
from fuzz_driver.damage import damage_file
from fuzz_driver.recipes import Input, Output

__all__ = ["State", "lay_out", "quoted", "state_of"]

_ALWAYS = ("tiny.py", "nets.py", "classes.txt", "token.txt", "data")

State = dict[str, tuple[Any, ...]]
"""What lies in a folder: path to kind and mode, and for a file size, time of the last change and number."""


def lay_out(case: Case, inputs: Path, work: Path, url: str) -> tuple[str, ...]:
    """Copy and damage the inputs of a case.

    Args:
        case: The case.
        inputs: The folder of all inputs.
        work: The folder in which the case runs.
        url: The address of a server.

    Returns:
        The words of the case as they are on the command line.
    """
    for name in _ALWAYS:
        _copy(inputs, name, work / "in")
    absolute = "folder gone" in case.surroundings
    words = []
    for word in case.words:
        if isinstance(word, Input):
            path = work / "in" / word.name
            if not os.path.lexists(path):
                _copy(inputs, word.name, work / "in")
            if word.damage:
                path = damage_file(path, word.damage, Random(word.seed))
            shown = str(path if absolute else path.relative_to(work))
            words.append(word.prefix + shown + word.suffix)
        elif isinstance(word, Output):
            path = work / word.path
            _put_there(path, word.there, work)
            words.append(str(path) if absolute else word.path)
        else:
            words.append(url if word == "URL" else word)
    return tuple(words)


def _copy(inputs: Path, name: str, to: Path) -> None:
    """Copy an input and what lies beside it under the same name."""
    source = inputs / name
    if source.is_dir():
        shutil.copytree(source, to / name)
        return
    for part in source.parent.glob(f"{source.name}*"):
        place = to / part.relative_to(inputs)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(part, place)


def _put_there(path: Path, there: str, work: Path) -> None:
    """Put something in the place of an output, where there can be something."""
    if not there or not path.parent.is_dir() or len(path.name) > 255 or os.path.lexists(path):
        return
    if there == "a file":
        path.write_bytes(b"precious")
    elif there == "a folder":
        path.mkdir()
        (path / "precious.txt").write_text("precious")
    elif there == "a pipe":
        os.mkfifo(path)
    elif there == "a device":
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except OSError:
            os.mkfifo(path)
    elif there == "a link to nothing":
        path.symlink_to("nothing")
    else:
        path.symlink_to(work / "in" / "tiny.py")


def state_of(folder: Path) -> State:
    """What lies in a case's folder of work and its TMPDIR."""
    found: State = {}
    for top in ("work", "tmp"):
        for where, folders, files in os.walk(folder / top):
            for name in (*folders, *files):
                path = os.path.join(where, name)
                info = os.lstat(path)
                is_folder = stat.S_ISDIR(info.st_mode)
                about = () if is_folder else (info.st_size, info.st_mtime_ns, info.st_ino)
                found[os.path.relpath(path, folder)] = (info.st_mode, *about)
    return found


def quoted(word: str) -> str:
    """A word as a shell takes it, with escapes for what is not printable."""
    if word.isprintable():
        return shlex.quote(word)
    plain = (one if one.isprintable() and one not in "\\'" else _escaped(one) for one in word)
    return "$'" + "".join(plain) + "'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
