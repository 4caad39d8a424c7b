"""The results of the hooks: artifacts, reports, and how weights fit a network. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import ArtifactError
from segplug.notebook import facts_html
from segplug.text import counted, in_bytes

if TYPE_CHECKING:
    import torch

    from segplug.calls import Call
    from segplug.model import ModelMeta

__all__ = [
    "AnalyzeReport",
    "Artifact",
    "BackboneFit",
    "ConversionReport",
    "Figure",
    "Precision",
    "ResizedTensor",
    "Screen",
    "Table",
]

Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""The arithmetic of an artifact."""


@dataclass(frozen=True)
class ResizedTensor:
    """A table of positions that was resized to the network's size, as the source's framework does it."""

    name: str
    before: tuple[int, ...]
    """Its shape in the weights."""
    after: tuple[int, ...]
    """Its shape in the network."""
    how: str
    """The method, in a few words: ``bicubic, 14x14 to 32x32``."""


@dataclass(frozen=True, kw_only=True)
class BackboneFit:
    """How weights fit the backbone of a model. They were loaded strictly if ``fits``."""

    backbone: str
    """What the source calls the network: ``VisionTransformer``."""
    state: Mapping[str, torch.Tensor]
    """The weights as they were loaded: position tables resized, ``left_out`` left out."""
    resized: tuple[ResizedTensor, ...] = ()
    left_out: tuple[str, ...] = ()
    """Names of optional weights that the network lacks."""
    missing: tuple[str, ...] = ()
    """Names of the network that the weights lack."""
    unexpected: tuple[str, ...] = ()
    """Names of the weights that the network lacks."""
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    """Name, shape in the weights, shape in the network."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The arguments that the config builds the backbone with, the source's defaults included: plain data.
    They hold what shapes do not show: heads, activations, strides."""

    @property
    def fits(self) -> bool:
        """Whether nothing is missing, unexpected, or of another shape."""
        return not (self.missing or self.unexpected or self.misshaped)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What an exporter, a packer or an engine builder made: a file or a folder, and its parts.

    A provider returns ``request.made(...)``; the core fills in the fields that have defaults.

    Attributes:
        path: The main file, or the folder.
        format: The target that made it: ``onnx``, ``tensorrt``, ...
        meta: Its metadata.
        files: All files that belong to it, as names relative to ``path.parent`` with ``/``, the main file
            first: external data, the sidecar of its metadata. For a folder: the files in it that this call
            made.
        attached: The files that add-ons wrote beside it, such as a signature, in the same form. They are no
            part of ``size`` and ``sha256``: a signature cannot sign itself.
        size: Bytes of ``files``.
        sha256: SHA-256 in hex digits: of the file, if it is one file; else over the names and hashes of all
            files (:func:`segplug.artifact.combined_sha256`).
        call: The call that made it.
    """

    path: Path
    format: str
    meta: ModelMeta
    files: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    size: int = 0
    sha256: str = ""
    call: Call | None = None

    def __repr__(self) -> str:
        return f"<Artifact {self.path.name}: {self.format}, {in_bytes(self.size)}, of {self.meta!r}>"

    def _repr_html_(self) -> str:
        facts = (
            ("file", (str(self.path),)),
            ("format", (f"{self.format}, {in_bytes(self.size)} in {counted(len(self.files), 'file')}",)),
            *self.meta.facts(),
        )
        return facts_html(f"Artifact {self.path.name}", facts, self.meta.legend())

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files as paths, those that add-ons wrote included."""
        return tuple(self.path.parent / name for name in (*self.files, *self.attached))

    def discard(self) -> None:
        """Remove all its files, and the folders in it that become empty. Missing ones are no error.

        Raises:
            ArtifactError: a file cannot be removed.
        """
        try:
            for path in self.paths:
                path.unlink(missing_ok=True)
            folders = {
                folder for path in self.paths for folder in path.parents if self.path in folder.parents
            }
            for folder in sorted({*folders, self.path}, key=lambda path: -len(path.parts)):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        except OSError as error:
            raise ArtifactError(f"cannot remove {self.path}: {error.strerror or error}") from error


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a weight conversion did.

    Attributes:
        destination: The file that was written; ``None``: nothing was written (a dry run). A provider gives
            the staged path (``request.output``, or another name beside it), the core the final one.
        data: JSON types.
        tables: Rows for people.
        notes: How to use the weights correctly, one sentence each.
        call: The call that made it.
    """

    destination: Path | None
    data: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    call: Call | None = None


@dataclass(frozen=True)
class Table:
    """Rows for people; numbers stay numbers until they are printed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    only_csv: bool = False
    """Too large for a screen or a page: only written as a CSV file."""
    filters: tuple[str, ...] = ()
    """Columns of few values, by which readers of a page choose rows. Long tables have a search anyway."""

    def __post_init__(self) -> None:
        for name in self.filters:
            if name not in self.columns:
                raise ValueError(f"there is no column '{name}' to filter by")


@dataclass(frozen=True)
class Screen:
    """What shows characters: a terminal, or a file that holds its output."""

    columns: int
    """Characters of a line."""
    colour: bool
    """Whether it shows colours: a terminal does, unless ``NO_COLOR`` is set."""


@dataclass(frozen=True)
class Figure:
    """A picture of a report's data; it is drawn only if it is shown or written."""

    title: str
    draw: Callable[[], bytes]
    """Makes the whole picture file, in ``media_type``."""
    media_type: Literal["image/png", "image/svg+xml", "image/jpeg"] = "image/png"
    description: str = ""
    """What the picture shows, as text for people who cannot see it."""
    text: Callable[[Screen], str] | None = None
    """Draws the picture in characters: lines that fit the screen, with ANSI colours only if it has colours.
    ``None``: it has no such form."""


@dataclass(frozen=True, kw_only=True)
class AnalyzeReport:
    """A report: its data, and tables and figures of the data.

    Attributes:
        title: One line.
        data: JSON types.
        tables: Rows for people.
        figures: Pictures of the data.
        notes: How to read the numbers correctly, one sentence each.
        failures: Checks of the report that failed, one line each; the command then exits with 1.
        text: The report itself, if it is a text: printed before everything else.
        text_language: What the text is written in, as pygments calls it: ``python``. Pages colour it so.
        call: The call that made it.
    """

    title: str
    data: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    text: str = ""
    text_language: str = ""
    call: Call | None = None

    def __repr__(self) -> str:
        holds = [counted(len(self.tables), "table"), counted(len(self.figures), "figure")]
        if self.failures:
            holds.append(counted(len(self.failures), "failure"))
        return f"<AnalyzeReport {self.title}: {', '.join(holds)}>"
