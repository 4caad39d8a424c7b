"""What a model file is: the result of :meth:`segplug.Segplug.info`. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from segplug.description import TensorDescription
from segplug.legend import LegendEntry
from segplug.model import ModelMeta
from segplug.notebook import Facts, facts_html
from segplug.text import counted, in_bytes

__all__ = ["FileInfo", "InstalledBackend"]


@dataclass(frozen=True)
class InstalledBackend:
    """An installed backend that opens the files of a format."""

    target: str
    distribution: str
    device: str
    """Where it runs if no device is asked for."""
    reason: str = ""
    """Why it cannot run on this machine. Empty: it can."""

    def in_words(self) -> str:
        """``onnxruntime (cpu)``."""
        return (
            f"{self.target}: not on this machine: {self.reason}"
            if self.reason
            else f"{self.target} ({self.device})"
        )


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """What a model file is, and what can be done with it. Nothing in the file was run."""

    path: Path
    kind: Literal["artifact", "checkpoint", "config"]
    """``artifact``: what an exporter, an engine builder or a packer makes, of segplug or of another tool."""
    format: str
    """The target that makes such files; the format of a checkpoint; the source that reads a config."""
    what: str
    """The kind of file in a few words: ``ONNX file``."""
    files: Mapping[str, int]
    """The file and its parts, by names relative to its folder: bytes."""
    meta: ModelMeta | None = None
    """segplug's metadata in it or beside it; else what the metadata of the tool says that made it."""
    inputs: tuple[TensorDescription, ...] = ()
    outputs: tuple[TensorDescription, ...] = ()
    legend: tuple[LegendEntry, ...] = ()
    """The name of each label, and its colour where there is one."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """More facts of the format, by a few words for each: JSON types."""
    backends: tuple[InstalledBackend, ...] = ()
    """Those that are installed; the first is taken if none is named."""
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    """Command lines to type next."""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(self.files.values())

    def facts(self) -> Facts:
        """Everything but classes, notes and commands, in words."""
        found: dict[str, list[str]] = {
            "input": [f"{_in_words(tensor)}{_free_sizes(tensor)}" for tensor in self.inputs],
            "output": [_in_words(tensor) for tensor in self.outputs],
        }
        if self.meta is not None:
            found |= {what: list(lines) for what, lines in self.meta.facts()}
        found |= {what: _lines(value) for what, value in self.details.items()}
        if len(self.files) > 1:
            found["files"] = [f"{name}, {in_bytes(size)}" for name, size in self.files.items()]
        if self.kind == "artifact" and self.backends:
            found["opened by"] = [backend.in_words() for backend in self.backends]
        return tuple((what, tuple(lines)) for what, lines in found.items() if lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "format": self.format,
            "what": self.what,
            "size": self.size,
            "files": dict(self.files),
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "outputs": [tensor.to_dict() for tensor in self.outputs],
            "labels": [
                {
                    "label": entry.label,
                    "name": entry.name,
                    "colour": list(entry.colour) if entry.painted else None,
                }
                for entry in self.legend
            ],
            "meta": self.meta and self.meta.to_dict(),
            "details": dict(self.details),
            "backends": [asdict(backend) for backend in self.backends],
            "notes": list(self.notes),
            "next": list(self.next),
        }

    @property
    def title(self) -> str:
        """One line: the file, its kind, its size."""
        return f"{self.path.name}: {self.what}, {in_bytes(self.size)}"

    def __repr__(self) -> str:
        labels = f", {counted(len(self.legend), 'class', 'classes')}" if self.legend else ""
        return f"<FileInfo {self.title}{labels}>"

    def _repr_html_(self) -> str:
        facts = (*self.facts(), ("notes", self.notes), ("what to type next", self.next))
        return facts_html(self.title, tuple(fact for fact in facts if fact[1]), self.legend)


def _in_words(tensor: TensorDescription) -> str:
    return f"{tensor.name}: {tensor.type}, {tensor.shape}"


def _free_sizes(tensor: TensorDescription) -> str:
    """The sizes of the free axes that have names: ``; batch: 1 to 4; height, width: any size``."""
    free: dict[str, list[str]] = {}
    for axis in tensor.axes or ():
        if axis.name and not axis.sizes.is_fixed:
            free.setdefault(axis.sizes.in_words(), []).append(axis.name)
    return "".join(f"; {', '.join(names)}: {sizes}" for sizes, names in free.items())


def _lines(value: Any) -> list[str]:
    """A detail in words: a mapping and a list on one line each."""
    if isinstance(value, Mapping):
        return [", ".join(f"{name} {_text(item)}" for name, item in value.items())]
    if isinstance(value, (list, tuple)):
        return [", ".join(map(_text, value))]
    return [_text(value)]


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
