"""Inputs that are damaged, hostile, or no files at all, made from a valid one."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

__all__ = ["DAMAGES", "Damage", "damage_file"]

_ANY = frozenset({0, 1, 2})
_FAILS = frozenset({1})
_WORKS = frozenset({0})
_CONTENT = frozenset({0, 1})
"""What is changed may be where nothing reads it, or a text that is still one."""
_NO_FILE = frozenset({1, 2})


@dataclass(frozen=True)
class Damage:
    """One way to damage the input at a path; the valid input lies there before.

    ``apply`` returns the path of the damaged input, mostly the same one.
    """

    apply: Callable[[Path, Random], Path]
    codes: frozenset[int] = _FAILS
    """The exit codes of a command that reads the input."""


def damage_file(path: Path, name: str, rng: Random) -> Path:
    """Damage the input at ``path`` and return where it lies then."""
    return DAMAGES[name].apply(path, rng)


def _content(change: Callable[[bytearray, Random], bytes | bytearray]) -> Callable[[Path, Random], Path]:
    """A damage of a file's bytes; of a folder, one of its files is damaged."""

    def apply(path: Path, rng: Random) -> Path:
        file = path
        if path.is_dir():
            inside = sorted(item for item in path.rglob("*") if item.is_file())
            file = rng.choice(inside) if inside else path / "file"
        before = bytearray(file.read_bytes() if file.is_file() else b"")
        file.write_bytes(change(before, rng))
        return path

    return apply


def _place(make: Callable[[Path], None]) -> Callable[[Path, Random], Path]:
    """A damage that puts something else in the place of the input."""

    def apply(path: Path, rng: Random) -> Path:
        aside = path.with_name(f"whole-{path.name}")
        os.rename(path, aside)
        make(path)
        return path

    return apply


def _renamed(name: Callable[[Path], str | bytes]) -> Callable[[Path, Random], Path]:
    def apply(path: Path, rng: Random) -> Path:
        to = os.path.join(os.fsencode(path.parent), os.fsencode(name(path)))
        os.rename(path, to)
        return Path(os.fsdecode(to))

    return apply


def _cut(content: bytearray, rng: Random) -> bytearray:
    return content[: rng.randrange(max(1, len(content)))]


def _flip(content: bytearray, rng: Random) -> bytearray:
    for _ in range(rng.choice((1, 3, 20))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def _overwrite(content: bytearray, rng: Random) -> bytearray:
    """A few bytes are as large as can be, as a declared size or count might be."""
    if content:
        at = rng.randrange(len(content))
        content[at : at + 4] = b"\xff\xff\xff\x7f"
    return content


def _noise(content: bytearray, rng: Random) -> bytes:
    return rng.randbytes(2000)


def _appended(content: bytearray, rng: Random) -> bytes:
    return bytes(content) + rng.randbytes(200)


def _zip_member(path: Path, rng: Random) -> Path:
    """One member of a zip file is missing, cut, or declared longer; another file gets noise in its middle."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return _content(_overwrite)(path, rng)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen, how = rng.choice(sorted(members)), rng.choice(("missing", "cut", "noise", "twice", "inflated"))
    path.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name == chosen and how == "missing":
                continue
            if name == chosen and how == "cut":
                content = content[: len(content) // 2]
            if name == chosen and how == "noise":
                content = rng.randbytes(max(1, len(content)))
            if name == chosen and how == "inflated":
                archive.writestr(name, bytes(200_000_000), zipfile.ZIP_DEFLATED)
                continue
            archive.writestr(name, content)
            if name == chosen and how == "twice":
                archive.writestr(f"../{name}", content)
    return path


_JSON = (
    b"[]",
    b"{}",
    b"null",
    b"[" * 100_000,
    b'{"mode": "train", "epoch": "\\u001b[31m", "iter": {}, "loss": "nan"}\n' * 3,
    b'{"mode": "val", "epoch": 1e999, "iter": -1, "mIoU": [1, 2]}\n',
    b'{"mode": "train", "epoch": 1, "iter": ' + b"9" * 5000 + b', "loss": 1}\n',
)


def _json(content: bytearray, rng: Random) -> bytes:
    return rng.choice(_JSON)


_PYTHON = (
    b"model = dict(",
    b"x = 1\n",
    b"raise SystemExit(3)\n",
    b"raise KeyboardInterrupt\n",
    b"import no_such_module_of_mine\n",
    b"model = dict(type='EncoderDecoder', backbone=5)\n",
    b"model = dict(type='\\x1b[31mred')\n",
    b"model = 5\ndata = 6\n",
    b"_base_ = 'tiny.py'\n",
    b"_base_ = ['/dev/zero']\n",
    b"raise BaseException('ended')\n",
    b"\xff\xfe\x00",
)


def _python(content: bytearray, rng: Random) -> bytes:
    return rng.choice(_PYTHON)


_YAML = b"a: &a [x, x]\nb: &b [*a, *a]\nmodel: !!python/object/apply:os.getcwd []\n"


def _as_yaml(path: Path, rng: Random) -> Path:
    if path.is_dir():
        return _content(_json)(path, rng)
    to = path.with_suffix(".yaml")
    os.rename(path, to)
    to.write_bytes(_YAML)
    return to


_METADATA = (
    *('{"schema": "two"}', "[]", "5", '{"schema": 2, "classes": 7, "palette": {}}', "{" * 5000, '{"schema":'),
)


def _metadata(path: Path, rng: Random) -> Path:
    """Metadata of wrong types: in an ONNX file, in the sidecar of another file, or as another sidecar."""
    hostile = rng.choice(_METADATA)
    if path.suffix == ".onnx" and path.is_file():
        import onnx

        model = onnx.load(path)
        for entry in model.metadata_props:
            if rng.random() < 0.7:
                entry.value = hostile
        onnx.save(model, path)
    else:
        Path(f"{path}.json").write_text(hostile)
    return path


_NAME = "=cmd|x!A0\x1b[31m\u202e"


def _hostile_names(path: Path, rng: Random) -> Path:
    """The name of a class or a curve has escape codes and a bidi mark, and begins as a formula does."""
    escaped = json.dumps(_NAME)[1:-1]  # for JSON, and for Python
    if path.suffix == ".onnx" and path.is_file():
        import onnx

        model = onnx.load(path)
        for entry in model.metadata_props:
            entry.value = entry.value.replace("road", escaped)
        onnx.save(model, path)
    elif path.suffix in (".py", ".json"):
        path.write_text(path.read_text().replace("road", escaped).replace("mIoU", escaped))
    elif path.suffix == ".txt":
        path.write_text(path.read_text().replace("road", _NAME))
    return path


def _mark_suffix(path: Path) -> str:
    return f"{path.stem}.xyz"


def _mark_bytes(path: Path) -> bytes:
    return os.fsencode(path.stem) + b"-\xff\xfe" + os.fsencode(path.suffix)


def _mark_terminal(path: Path) -> str:
    return f"{path.stem}\x1b[31m\u202e\n{path.suffix}"


def _zero_link(path: Path) -> None:
    os.symlink("/dev/zero", path)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    os.symlink(path.name, path)


def _device(path: Path) -> None:
    """A device like /dev/zero of one's own; where that is not allowed, a socket's kind of trouble: a pipe."""
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except OSError:
        os.mkfifo(path)


DAMAGES: Mapping[str, Damage] = {
    "cut": Damage(_content(_cut), _CONTENT),
    "flipped": Damage(_content(_flip), _CONTENT),
    "large sizes": Damage(_content(_overwrite), _CONTENT),
    "empty": Damage(_content(lambda content, rng: b""), _CONTENT),
    "noise": Damage(_content(_noise)),
    "appended": Damage(_content(_appended), _CONTENT),
    "zip member": Damage(_zip_member, _CONTENT),
    "json": Damage(_content(_json), _CONTENT),
    "python": Damage(_content(_python)),
    "yaml": Damage(_as_yaml),
    "metadata": Damage(_metadata, _CONTENT),
    "hostile names": Damage(_hostile_names, _CONTENT),
    "a folder": Damage(_place(lambda path: path.mkdir()), _ANY),
    "a pipe": Damage(_place(_pipe), _NO_FILE),
    "a device": Damage(_place(_device), _NO_FILE),
    "a link to /dev/zero": Damage(_place(_zero_link), _NO_FILE),
    "a link to itself": Damage(_place(_loop), _NO_FILE),
    "missing": Damage(_place(lambda path: None), frozenset({2})),
    "another suffix": Damage(_renamed(_mark_suffix), _ANY),
    "not UTF-8": Damage(_renamed(_mark_bytes), _ANY),  # libraries that take text alone refuse it
    "a name with codes": Damage(_renamed(_mark_terminal), _WORKS),
}
"""What may have happened to an input."""
