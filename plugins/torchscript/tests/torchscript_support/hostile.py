"""Files that would run code or write files: each does so when it is trusted, and is refused otherwise."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segplug.model import META_ENTRY, ModelMeta

MODEL = "models/model.json"
SAMPLE = "data/sample_inputs/model.pt"

_jit: Any = torch.jit


def rewritten(source: Path, target: Path, changes: Mapping[str, bytes]) -> Path:
    """A copy of an archive with other or more entries; names are those inside its folder."""
    left = dict(changes)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            name = info.filename.partition("/")[2]
            header = zipfile.ZipInfo(info.filename)
            header.compress_type = info.compress_type
            new.writestr(header, left.pop(name, None) if name in left else old.read(info))
        for name, content in left.items():
            new.writestr(f"model/{name}", content)
    return target


def edited(source: Path, target: Path, edit: Callable[[str], str]) -> Path:
    """A copy of a program with another graph."""
    with zipfile.ZipFile(source) as archive:
        text = archive.read(f"model/{MODEL}").decode()
    changed = edit(text)
    assert changed != text
    json.loads(changed)
    return rewritten(source, target, {MODEL: changed.encode()})


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.made),)


def pickled(content: Any) -> bytes:
    """What ``torch.save`` makes of it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class Saves(nn.Module):
    """Writes its input to a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch.save(images, self.path)
        return images


class MapsFile(nn.Module):
    """Makes a file, and takes it for a tensor."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + torch.from_file(self.path, True, 4)[0]


class WritesWhenOpened(nn.Module):
    """Writes a file while it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images

    @_jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @_jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.path)


class Prints(nn.Module):
    """Prints to the terminal."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        print("\x1b[2J")
        return images


class UsesForeignOperator(nn.Module):
    """Calls an operator of another library."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.segplug_hostile.same(images)
        return found


class Part(nn.Module):
    """Has many attributes."""

    def __init__(self) -> None:
        super().__init__()
        for index in range(30):
            setattr(self, f"v{index}", index)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.v29


class Kinds(nn.Module):
    """Has attributes of every kind that networks have."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Part()
        self.small = _jit.Attribute([1, 2], list[int])
        self.maybe = _jit.Attribute(None, torch.Tensor | None)
        self.nested = _jit.Attribute({"a": [(1, 2.0)]}, dict[str, list[tuple[int, float]]])
        self.pair = (1, "x")
        self.device = torch.device("cpu")
        self.names = ["x", "y"]
        self.register_buffer("mean", torch.ones(1))
        self.weight = nn.Parameter(torch.ones(1))
        self.parts = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ReLU()])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            images = part(images)
        count, name = self.pair
        scale = self.small[1] + count + self.nested["a"][0][1] + len(name) + len(self.names)
        return self.part(images.to(self.device)) * scale * self.weight + self.mean


_library = torch.library.Library("segplug_hostile", "DEF")
_library.define("same(Tensor images) -> Tensor")
_library.impl("same", lambda images: images.clone(), "CPU")


def scripted(network: nn.Module, path: Path, meta: ModelMeta) -> Path:
    """A TorchScript file of ``network`` with segplug's metadata, as another program could write it."""
    # Written by way of memory: PyTorch names the folder in the file after the file.
    buffer = io.BytesIO()
    _jit.save(_jit.script(network.eval()), buffer, _extra_files={META_ENTRY: meta.to_json()})
    path.write_bytes(buffer.getvalue())
    return path
