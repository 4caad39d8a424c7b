"""What all makers have in common: inputs, precisions, and what providers and add-ons may return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segplug.api.subjects import input_files, require_text
from segplug.artifact import completed
from segplug.engine import EngineSpec
from segplug.errors import PluginError, ShapeError, UsageError
from segplug.files import ensure_free
from segplug.installed import Provider
from segplug.limits import MOST_BATCH, most_threads, why_no_input
from segplug.model import ModelMeta
from segplug.options import require_number
from segplug.registry.formats import files_of
from segplug.registry.loading import entry_label
from segplug.regular_files import why_no_file
from segplug.results import Artifact, Precision
from segplug.session import PathLike, Providers, Subject
from segplug.staging import Stage

__all__ = [
    "Product",
    "all_inputs",
    "check_numbers",
    "check_shape",
    "check_smallest_input",
    "ensure_output",
    "image_paths",
    "precision_of",
    "refuse_elsewhere",
]

State = dict[str, tuple[int, int]]


def all_inputs(providers: Providers, what: Subject, others: Sequence[PathLike] = ()) -> list[Path]:
    """The files that no output replaces: those that ``what`` is read from, all parts of them, and others."""
    named = [Path(path) for path in input_files(what) if path is not None]
    return [*(part for path in named for part in files_of(providers, path)), *(Path(path) for path in others)]


def image_paths(images: Sequence[PathLike]) -> tuple[Path, ...]:
    """The images that a user names; raises :class:`UsageError` if one is not there."""
    paths = tuple(Path(image) for image in images)
    for path in paths:
        if reason := why_no_file(path, "image file"):
            raise UsageError(reason)
    return paths


def ensure_output(maker: Provider, destination: Path, *, force: bool) -> None:
    """Check, before any work is done, that an artifact can be written.

    A folder is replaced only by the maker of such folders, and with ``force``.

    Raises:
        UsageError: it exists and ``force`` is not set, it is a folder of something else, or its own folder is
            not there, or its name is not UTF-8.
    """
    require_text(destination)
    if force and destination.is_dir() and maker.method("read_meta")(destination) is not None:
        return
    ensure_free(destination, force=force)


def precision_of(maker: Provider, asked: Precision | None) -> Precision:
    """The precision to make: the one asked for, or the maker's first.

    Raises:
        UsageError: the maker does not have it.
    """
    known: tuple[Precision, ...] = maker.attribute("precisions")
    if asked is None:
        return known[0]
    if asked not in known:
        raise UsageError(
            f"{maker.entry.hook} {maker.entry.target} makes {' or '.join(known)} artifacts, not {asked}"
        )
    return asked


def check_shape(shape: object) -> None:
    """Check a shape that a caller gives.

    Raises:
        UsageError: it is not two sizes in pixels.
    """
    if shape is None:
        return
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
        raise UsageError(f"a shape is (height, width) in pixels, not {shape!r}")
    if reason := why_no_input(sizes, channels=1):
        raise UsageError(reason)


def check_numbers(*, threads: int | None = None, batch_size: int = 1) -> None:
    """Check the numbers of a run, each of which takes memory.

    Raises:
        UsageError: one is no whole number from 1, or too large for any run, or for this machine.
    """
    require_number("threads on this machine", threads, least=1, most=most_threads(), whole=True)
    require_number("batch_size", batch_size, least=1, most=MOST_BATCH, whole=True)


def check_smallest_input(spec: EngineSpec) -> None:
    """Check, before an image is prepared, that the smallest input of an engine can be made.

    Raises:
        ShapeError: it is too large for any machine.
    """
    size = spec.height.minimum, spec.width.minimum
    if reason := why_no_input(size, channels=spec.meta.in_channels, batch=spec.batch.minimum):
        raise ShapeError(f"{spec.meta.name} cannot be run: {reason}")


@dataclass
class Product:
    """An artifact between its provider and its place: first the provider's, then the add-ons'."""

    maker: Provider
    stage: Stage
    shared: frozenset[str] = frozenset()
    """Names of staged files that belong to other versions of a model, too."""
    made: Artifact | None = None
    """What the core made of the provider's result: add-ons see this one."""
    _state: State = field(default_factory=dict)

    def check_meta(self, artifact: Artifact) -> None:
        """Check that the metadata in the provider's result lies in the artifact: nobody could run it else.

        Raises:
            PluginError: it does not.
        """
        if not self._has_meta(artifact):
            raise PluginError(
                f"{entry_label(self.maker.entry)} returned metadata that it did not write",
                hint="self.write_meta(request.output, meta)",
            )

    def _has_meta(self, artifact: Artifact) -> bool:
        written: ModelMeta | None = self.maker.method("read_meta")(artifact.path)
        return written is not None and written.to_dict() == artifact.meta.to_dict()

    def describe(self, artifact: Artifact, request: Any) -> Artifact:
        """The provider's artifact with its parts and its call.

        Raises:
            ArtifactError: a file cannot be read.
        """
        names = [name for name in self.stage.names() if name not in self.shared]
        self.made = completed(replace(artifact, call=request.call), names)
        self._state = self._state_now()
        return self.made

    def agreed(self, returned: Artifact) -> Artifact:
        """The artifact when all add-ons have seen it: they may have changed files, or written new ones.

        Raises:
            PluginError: an add-on returned another artifact, removed a part, or changed only one of the two:
                the metadata in the result, and that in the file.
        """
        made = self.made
        if made is None:
            raise PluginError("an add-on returned an artifact, although none was made")
        names = self.stage.names()
        if (returned.path, returned.format) != (made.path, made.format):
            raise PluginError("an add-on returned another artifact than the one that was made")
        gone = [name for name in made.files if name not in names]
        if gone:
            raise PluginError(f"an add-on removed {gone[0]}, which is a part of the artifact")
        if returned.meta != made.meta and not self._has_meta(returned):
            raise PluginError("an add-on changed the metadata in its result, and not that in the artifact")
        artifact = replace(made, meta=returned.meta)
        if self._state_now() != self._state:
            artifact = self._changed(artifact)
        attached = [name for name in names if name not in made.files and name not in self.shared]
        return replace(artifact, attached=tuple(attached))

    def _changed(self, artifact: Artifact) -> Artifact:
        """The artifact whose files an add-on has changed: what was verified was another one."""
        assert self.made is not None
        changed = completed(artifact, artifact.files)
        only_content = changed.sha256 != self.made.sha256 and artifact.meta == self.made.meta
        if not only_content or artifact.meta.verification is None:
            return changed
        meta = artifact.meta.replace(verification=None)
        self.maker.method("write_meta")(artifact.path, meta)
        return completed(replace(changed, meta=meta), artifact.files)

    def _state_now(self) -> State:
        assert self.made is not None
        paths = {name: self.made.path.parent / name for name in self.made.files}
        found = {name: path.stat() for name, path in paths.items() if path.is_file()}
        return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in found.items()}


def refuse_elsewhere(provider: Provider, path: Path, folder: Path) -> None:
    """Refuse a result that does not lie in the staging folder: it would not be placed with the others.

    Raises:
        PluginError: it does not.
    """
    if path.parent != folder or not path.exists():
        raise PluginError(
            f"{entry_label(provider.entry)} returned {path}, which it did not write into its staging folder"
        )
