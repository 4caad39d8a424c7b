"""Which backends open a file, and what has to be made for a backend that opens none yet.

A maker (an ``export`` or ``build_engine`` provider) makes files of the format that its target names;
``suffix`` says what such a file ends in, ``.<target>`` if the provider does not say. A reader (an
``infer`` or ``build_engine`` provider that takes artifacts) says in ``reads`` which formats it opens;
without, that is the format of its own name. Whose artifacts are more than one file names the others in
``companions(artifact: Path) -> Iterable[Path]``.

The ``infer`` target that a maker's files are verified with is its ``verify_with``. An ``infer`` provider
says with ``default_device`` where it runs if nobody says (``cpu``), and may have
``check_device(device: str)``, which raises before any work what opening an engine there would raise.
"""

from __future__ import annotations

from pathlib import Path

from segplug.artifact import sidecar_path
from segplug.discovery import entries
from segplug.errors import PluginError, UsageError, VerificationError
from segplug.registry import Provider, Registry
from segplug.requests import Artifact

__all__ = [
    "REFERENCE_BACKEND",
    "backends_for",
    "companions",
    "formats_read",
    "require_device",
    "route_to",
    "runner_of",
    "runner_of_maker",
    "runner_of_source",
    "suffix_of",
]

REFERENCE_BACKEND = "pytorch"
"""The ``infer`` target that runs a loaded model itself; every comparison's other side."""

_MAKERS = ("export", "build_engine")


def formats_read(reader: Provider) -> tuple[str, ...]:
    """The formats that a provider opens; none if it takes loaded models."""
    if reader.takes != "artifact":
        return ()
    declared = getattr(reader.plugin, "reads", None)
    return (reader.entry.target,) if declared is None else tuple(declared)


def companions(reader: Provider, artifact: Path) -> tuple[Path, ...]:
    """The files without which an artifact does not open, or is not described: they travel with it."""
    named = reader.method("companions")
    found = [] if named is None else [Path(file) for file in named(artifact)]
    sidecar = sidecar_path(artifact)
    return (*found, *([sidecar] if sidecar.is_file() and sidecar not in found else []))


def suffix_of(maker: Provider) -> str:
    """What the names of a maker's files end in, with the dot."""
    return str(getattr(maker.plugin, "suffix", f".{maker.entry.target}"))


def backends_for(registry: Registry, path: Path) -> tuple[str, ...]:
    """The ``infer`` targets that open a file of this name, by its suffix. A broken plugin is none."""
    suffix = path.suffix.lower()
    return tuple(
        reader.entry.target
        for reader in _usable(registry, "infer")
        if suffix in {_suffix_of_format(registry, name) for name in formats_read(reader)}
    )


def route_to(registry: Registry, backend: str) -> tuple[Provider, ...]:
    """The makers that lead from a loaded model to a file that ``backend`` opens, in order.

    Empty for a backend that runs the model itself. An exporter, or an exporter and an engine builder.

    Raises:
        UsageError: nothing that is installed makes what the backend opens.
    """
    reader = registry.provider("infer", backend)
    if reader.takes == "model":
        return ()
    if reader.takes == "url":
        raise UsageError(f"infer {backend} asks a server, which has a model already")
    route = _route(registry, formats_read(reader))
    if route is None:
        formats = " or ".join(formats_read(reader))
        raise UsageError(
            f"infer {backend} opens {formats} files, and nothing that is installed makes them from a model"
        )
    return route


def runner_of(registry: Registry, artifact: Artifact | str | Path) -> str:
    """The ``infer`` target that verifies an artifact, by its format.

    Raises:
        UsageError: it is a path, which says no format, or the plugin of the format is not installed.
        VerificationError: its maker names none.
    """
    if not isinstance(artifact, Artifact):
        raise UsageError(f"say which backend opens {artifact}", hint="backend='onnxruntime'")
    makers = _makers(registry, artifact.format)
    # A plugin that is not there is named as one, not as a format of no use.
    return runner_of_maker(makers[0] if makers else registry.provider("export", artifact.format))


def runner_of_maker(maker: Provider) -> str:
    """The ``infer`` target that a maker's files are verified with; raises :class:`VerificationError`."""
    backend = getattr(maker.plugin, "verify_with", None)
    if not isinstance(backend, str):
        raise VerificationError(
            f"nothing is known that runs a file of format {maker.entry.target}", hint="name a backend"
        )
    return backend


def runner_of_source(registry: Registry, builder: Provider, source: Path) -> str:
    """The ``infer`` target that runs what an engine was built from.

    Raises:
        UsageError: nothing that is installed makes what the builder reads.
        VerificationError: the makers name none.
    """
    makers = [maker for name in formats_read(builder) for maker in _makers(registry, name)]
    if not makers:
        raise UsageError(
            f"nothing that is installed makes {' or '.join(formats_read(builder))} files to compare"
        )
    named = [maker for maker in makers if source.suffix.lower() == suffix_of(maker)]
    return runner_of_maker((named or makers)[0])


def require_device(registry: Registry, backend: str, device: str | None) -> None:
    """Find out before any work that a backend has no device to run on, as far as its plugin can tell.

    Raises:
        DeviceError: it is not there.
        MissingDependencyError: a library is not.
    """
    runner = registry.provider("infer", backend)
    check = runner.method("check_device")
    if check is not None:
        check(device or runner.default_device)


def _route(
    registry: Registry, formats: tuple[str, ...], seen: frozenset[str] = frozenset()
) -> tuple[Provider, ...] | None:
    for wanted in formats:
        for maker in _makers(registry, wanted):
            if maker.takes == "model":
                return (maker,)
            before = None if wanted in seen else _route(registry, formats_read(maker), seen | {wanted})
            if before is not None:
                return (*before, maker)
    return None


def _makers(registry: Registry, wanted: str) -> list[Provider]:
    return [maker for hook in _MAKERS for maker in _usable(registry, hook) if maker.entry.target == wanted]


def _suffix_of_format(registry: Registry, name: str) -> str:
    makers = _makers(registry, name)
    return suffix_of(makers[0]) if makers else f".{name}"


def _usable(registry: Registry, hook: str) -> list[Provider]:
    usable = []
    for entry in entries(hook):
        try:
            usable.append(registry.load(entry))
        except PluginError:
            continue  # asking for it by name says why
    return usable
