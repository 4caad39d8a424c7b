"""Which backends open a file, and what has to be made for a backend that opens none yet.

A maker (an ``export`` or ``build_engine`` provider) makes files of the format that its target names;
``suffix`` says what such a file ends in, ``.<target>`` if the provider does not say. A reader (an
``infer`` or ``build_engine`` provider that takes artifacts) says in ``reads`` which formats it opens;
without, that is the format of its own name. Whose artifacts are more than one file names the others in
``companions(artifact: Path) -> Iterable[Path]``.
"""

from __future__ import annotations

from pathlib import Path

from segplug.artifact import sidecar_path
from segplug.discovery import entries
from segplug.errors import PluginError, UsageError
from segplug.registry import Provider, Registry

__all__ = ["backends_for", "companions", "formats_read", "route_to", "suffix_of"]

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
