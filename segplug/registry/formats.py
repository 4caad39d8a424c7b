"""Find the backends that open a file, and the makers of the files that a backend opens.

A *maker* is an ``export`` or ``build_engine`` target: it makes files of the format that it is named after.
All this is read from manifests; a plugin is imported only where one of its methods is called.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from segplug.artifact import read_sidecar, sidecar_path
from segplug.checkpoint.formats import CHECKPOINTS
from segplug.companions import require_companion
from segplug.engine import REFERENCE_BACKEND
from segplug.errors import ArtifactError, SegplugError, UsageError, VerificationError
from segplug.installed import Entry, Provider
from segplug.locations import has_scheme
from segplug.model import ModelMeta, SegmentationModel
from segplug.registry.discovery import addon_entries, entries
from segplug.registry.hub import how_to_download
from segplug.regular_files import is_regular, why_no_file
from segplug.results import Artifact
from segplug.session import Providers, Subject

__all__ = [
    "attached_files",
    "backend_of_artifact",
    "backend_of_input",
    "backends_for",
    "companions",
    "default_backend",
    "files_of",
    "has_suffix",
    "makers_for",
    "makers_of",
    "older_parts",
    "read_meta",
    "require_device",
    "route_to",
    "verification_backend",
]

_MAKERS = ("export", "build_engine")
_PLUGINS = {
    ".onnx": "segplug-onnx",
    ".pt": "segplug-torchscript",
    ".pt2": "segplug-torchscript",
    ".engine": "segplug-tensorrt",
    ".py": "segplug-mmseg",
}
"""The plugin of this project that reads files of a suffix, where it is not installed."""


def has_suffix(path: Path, suffix: str) -> bool:
    """Whether a file's name ends in a suffix, which may have several parts; in capitals, too."""
    name = path.name.lower()
    return bool(suffix) and name.endswith(suffix.lower()) and len(name) > len(suffix)


def companions(backend: Provider, artifact: Path) -> tuple[Path, ...]:
    """The files that must travel with an artifact: those it does not open without, and its sidecar.

    If the artifact is a folder, what is in it, too.

    Raises:
        ArtifactError: the artifact is damaged, or one of them is missing or may not be a companion of it
            (:mod:`segplug.companions`).
    """
    found = [Path(file) for file in backend.method("companions")(artifact)]
    sidecar = sidecar_path(artifact)
    if is_regular(sidecar) and sidecar not in found:
        found.append(sidecar)
    folder = [artifact] if artifact.is_dir() else []
    files = [file for path in (*folder, *found) for file in _files_in(path)]
    for file in files:
        require_companion(artifact, file)
    return tuple(files)


def _files_in(path: Path) -> Iterator[Path]:
    """A companion itself; if it is a folder, what is in it. Links to other folders count as files."""
    if not path.is_dir():
        yield path
        return
    for folder, inner, names in os.walk(path):
        links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
        yield from (Path(folder, name) for name in sorted([*names, *links]))


def older_parts(providers: Providers, maker: Entry, artifact: Path) -> Iterator[Path]:
    """The files beside an artifact that go away when another one of this maker replaces it.

    Its sidecar, its companions, and what add-ons write beside artifacts. A file that is not named after the
    artifact stays, since another artifact may need it, and so does a JSON file that is no metadata.
    """
    yield from attached_files(artifact)
    if not is_regular(artifact):
        return
    with suppress(ArtifactError):
        if read_sidecar(artifact) is not None:
            yield sidecar_path(artifact)
    if maker.facts.verify_with:
        with suppress(Exception):  # nothing can be known of its other files: the older file may be anything
            backend = providers.provider("infer", maker.facts.verify_with)
            beside = [Path(file) for file in backend.method("companions")(artifact)]
            own = (artifact.name, *_stem(artifact, maker.facts.suffix))
            yield from (file for file in beside if file.name.startswith(own) and is_regular(file))


def _stem(artifact: Path, suffix: str) -> tuple[str, ...]:
    """What the names of the other files of an artifact may begin with: ``m.`` for ``m.ncnn.param``."""
    return (artifact.name[: -len(suffix)] + ".",) if has_suffix(artifact, suffix) else ()


def files_of(providers: Providers, path: Path) -> tuple[Path, ...]:
    """A file with its sidecar and the files that it does not open without, as far as that can be known."""
    found = [path, sidecar_path(path)]
    for maker in makers_for(path):
        if maker.facts.verify_with:
            with suppress(SegplugError):  # damaged, or no plugin: what opens it says so
                backend = providers.provider("infer", maker.facts.verify_with)
                found += [Path(file) for file in backend.method("companions")(path)]
    return tuple(dict.fromkeys(file for file in found if file == path or is_regular(file)))


def attached_files(artifact: Path) -> tuple[Path, ...]:
    """The files beside an artifact that installed add-ons wrote, as far as they say so (``sidecars``)."""
    if not os.path.lexists(artifact):
        return ()
    ends = {end for addon in addon_entries() for end in addon.facts.sidecars}
    beside = [artifact.with_name(artifact.name + end) for end in sorted(ends)]
    return tuple(path for path in beside if is_regular(path))


def backends_for(path: Path) -> tuple[Entry, ...]:
    """The backends that open a file of this name: those of the longest suffix that fits."""
    fitting = [
        (len(suffix), backend)
        for backend in _usable("infer")
        for suffix in {suffix for name in backend.facts.reads for suffix in _suffixes_of_format(name)}
        if has_suffix(path, suffix)
    ]
    longest = max((length for length, _ in fitting), default=0)
    return tuple(dict.fromkeys(backend for length, backend in fitting if length == longest))


def default_backend(providers: Providers, what: Subject) -> tuple[Provider, tuple[Entry, ...]]:
    """The backend that runs ``what`` if nobody names one, and the others that open it, too.

    Only its name counts. A model, and what a source of models reads, such as a config: PyTorch itself. A
    file: of the backends that open files of its name, the one with which its exporter verifies, then the one
    with which its engine builder does, then the first by name.

    Raises:
        UsageError: nothing that is installed opens it; where a plugin is known that does, it is named.
        PluginError: the plugin of the backend is broken.
    """
    if isinstance(what, SegmentationModel):
        return providers.provider("infer", REFERENCE_BACKEND), ()
    path = what.path if isinstance(what, Artifact) else Path(what)
    is_path = not has_scheme(str(path))
    if is_path and (found := _in_order(path, backends_for(path))):
        return providers.load(found[0]), found[1:]
    try:
        providers.source("load_model", str(path), None)
    except UsageError as error:
        if how_to_download(str(what)):
            raise
        if is_path and not path.is_dir() and (reason := why_no_file(path)):
            raise UsageError(reason) from error
        if str(what).startswith(("http://", "https://")):
            names = " or ".join(entry.name for entry in _usable("infer") if entry.facts.takes == "url")
            raise UsageError(f"say which backend reaches the server {what}", hint=names or None) from error
        if path.suffix.lower() == ".py" and _usable("load_model"):
            raise  # no backend reads code: it says what the sources do
        raise UsageError(f"no installed backend opens {path}", hint=_hint(path)) from error
    return providers.provider("infer", REFERENCE_BACKEND), ()


def _in_order(path: Path, fitting: tuple[Entry, ...]) -> tuple[Entry, ...]:
    named = [maker.facts.verify_with for maker in makers_for(path)]
    return tuple(
        sorted(fitting, key=lambda entry: named.index(entry.target) if entry.target in named else len(named))
    )


def _hint(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _PLUGINS:
        return f"pip install {_PLUGINS[suffix]}"
    if suffix in CHECKPOINTS:
        return "it holds weights alone: name the model's config, and the weights with --checkpoint"
    formats = {name for backend in _usable("infer") for name in backend.facts.reads}
    ends = sorted({end for name in formats for end in _suffixes_of_format(name)})
    return f"those that are installed open {', '.join(ends)} files" if ends else "segplug plugins list"


def makers_of(format: str) -> tuple[Entry, ...]:
    """The makers of a format."""
    return tuple(maker for hook in _MAKERS for maker in _usable(hook) if maker.target == format)


def route_to(backend: Entry) -> tuple[Entry, ...]:
    """The makers that lead from a loaded model to a file that ``backend`` opens, in order.

    Empty for a backend that runs the model itself. An exporter, or an exporter and an engine builder.

    Raises:
        UsageError: nothing that is installed makes what the backend opens.
    """
    if backend.facts.takes == "model":
        return ()
    if backend.facts.takes == "url":
        raise UsageError(f"infer {backend.target} asks a server, which has a model already")
    route = _route(backend.facts.reads)
    if route is None:
        formats = " or ".join(backend.facts.reads)
        raise UsageError(
            f"infer {backend.target} opens {formats} files, and nothing that is installed makes them "
            "from a model"
        )
    return route


def read_meta(providers: Providers, path: Path) -> ModelMeta | None:
    """The metadata of an artifact of any format, read by the maker of its suffix.

    Returns:
        ``None`` if it has none.

    Raises:
        ArtifactError: the metadata is damaged.
        PluginError: the plugin of its format is broken.
    """
    for maker in makers_for(path):
        found: ModelMeta | None = providers.load(maker).method("read_meta")(path)
        if found is not None:
            return found
    return None if path.is_dir() else read_sidecar(path)


def backend_of_artifact(providers: Providers, artifact: Artifact | str | Path) -> Provider:
    """The backend that verifies an artifact, by its format, which a path says by its suffix.

    Raises:
        UsageError: no installed maker has the suffix, or the plugin of the format is not installed.
        VerificationError: its maker names none.
    """
    if not isinstance(artifact, Artifact):
        named = [maker for maker in makers_for(Path(artifact)) if maker.facts.verify_with]
        if not named:
            raise UsageError(f"say which backend opens {artifact}", hint="backend='onnxruntime'")
        return verification_backend(providers, named[0])
    makers = makers_of(artifact.format)
    # Where the plugin of the format is not installed, the error names the missing target.
    maker = makers[0] if makers else providers.provider("export", artifact.format).entry
    return verification_backend(providers, maker)


def verification_backend(providers: Providers, maker: Entry) -> Provider:
    """The backend that verifies a maker's files; raises :class:`VerificationError` if it names none."""
    if not maker.facts.verify_with:
        raise VerificationError(
            f"nothing is known that runs a file of format {maker.target}", hint="name a backend"
        )
    return providers.provider("infer", maker.facts.verify_with)


def backend_of_input(providers: Providers, builder: Entry, artifact: Path) -> Provider:
    """The backend that runs an artifact from which ``builder`` builds an engine.

    Raises:
        UsageError: nothing that is installed makes what the builder reads.
        VerificationError: the makers name none.
    """
    makers = [maker for name in builder.facts.reads for maker in makers_of(name)]
    if not makers:
        raise UsageError(
            f"nothing that is installed makes {' or '.join(builder.facts.reads)} files to compare"
        )
    named = [maker for maker in makers if has_suffix(artifact, maker.facts.suffix)]
    return verification_backend(providers, (named or makers)[0])


def require_device(backend: Provider, device: str | None) -> None:
    """Check before any work that a backend has a device to run on, as far as its plugin can tell.

    Raises:
        DeviceError: it is not there.
        MissingDependencyError: a library is not.
    """
    backend.method("check_device")(backend.device(device))


def _route(formats: tuple[str, ...], seen: frozenset[str] = frozenset()) -> tuple[Entry, ...] | None:
    for wanted in formats:
        for maker in makers_of(wanted):
            if maker.facts.takes == "model":
                return (maker,)
            before = None if wanted in seen else _route(maker.facts.reads, seen | {wanted})
            if before is not None:
                return (*before, maker)
    return None


def makers_for(path: Path) -> Iterator[Entry]:
    """The makers whose artifacts end as ``path`` does, the longest suffix first; for a folder, also those
    whose packages end in nothing.
    """
    makers = [maker for hook in _MAKERS for maker in _usable(hook)]
    fitting = [maker for maker in makers if has_suffix(path, maker.facts.suffix)]
    yield from sorted(fitting, key=lambda maker: -len(maker.facts.suffix))
    if path.is_dir():
        yield from (maker for maker in makers if not maker.facts.suffix)


def _suffixes_of_format(name: str) -> tuple[str, ...]:
    """What the names of a format's files end in; where nothing that is installed makes them, the format."""
    return tuple(maker.facts.suffix for maker in makers_of(name)) or (f".{name}",)


def _usable(hook: str) -> list[Entry]:
    return [entry for entry in entries(hook) if entry.status in ("available", "duplicate")]
