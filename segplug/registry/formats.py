"""Find the backends that open a file, and the makers of the files that a backend opens.

A *maker* is an ``export`` or ``build_engine`` provider: it makes files of the format that its target names.
``suffix`` says what such a file ends in, ``.<target>`` if the provider does not say. An ``infer`` or
``build_engine`` provider that takes artifacts says in ``reads`` which formats it opens; without, that is the
format of its own name. A provider whose artifacts are more than one file names the others in
``companions(artifact: Path) -> Iterable[Path]``.

A maker says in ``verify_with`` which ``infer`` target verifies its files. An ``infer`` provider says with
``default_device`` where it runs if no device is given (``cpu``). It may have ``check_device(device: str)``,
which raises before any work the error that opening an engine there would raise.
"""

from __future__ import annotations

from pathlib import Path

from segplug.artifact import sidecar_path
from segplug.errors import PluginError, UsageError, VerificationError
from segplug.installed import Provider
from segplug.registry.discovery import entries
from segplug.results import Artifact
from segplug.session import Providers

__all__ = [
    "backend_of_artifact",
    "backend_of_input",
    "backends_for",
    "companions",
    "formats_read",
    "require_device",
    "route_to",
    "suffix_of",
    "verification_backend",
]

_MAKERS = ("export", "build_engine")


def formats_read(provider: Provider) -> tuple[str, ...]:
    """The formats that a provider opens; none if it takes loaded models."""
    if provider.takes != "artifact":
        return ()
    declared = getattr(provider.plugin, "reads", None)
    return (provider.entry.target,) if declared is None else tuple(declared)


def companions(provider: Provider, artifact: Path) -> tuple[Path, ...]:
    """The files that must travel with an artifact: those it does not open without, and its sidecar."""
    named = provider.method("companions")
    found = [] if named is None else [Path(file) for file in named(artifact)]
    sidecar = sidecar_path(artifact)
    return (*found, *([sidecar] if sidecar.is_file() and sidecar not in found else []))


def suffix_of(maker: Provider) -> str:
    """What the names of a maker's files end in, with the dot."""
    return str(getattr(maker.plugin, "suffix", f".{maker.entry.target}"))


def backends_for(providers: Providers, path: Path) -> tuple[Provider, ...]:
    """The backends that open a file of this name, by its suffix. A broken plugin is none."""
    suffix = path.suffix.lower()
    return tuple(
        backend
        for backend in _usable(providers, "infer")
        if suffix in {_suffix_of_format(providers, name) for name in formats_read(backend)}
    )


def route_to(providers: Providers, backend: Provider) -> tuple[Provider, ...]:
    """The makers that lead from a loaded model to a file that ``backend`` opens, in order.

    Empty for a backend that runs the model itself. An exporter, or an exporter and an engine builder.

    Raises:
        UsageError: nothing that is installed makes what the backend opens.
    """
    if backend.takes == "model":
        return ()
    name = backend.entry.target
    if backend.takes == "url":
        raise UsageError(f"infer {name} asks a server, which has a model already")
    route = _route(providers, formats_read(backend))
    if route is None:
        formats = " or ".join(formats_read(backend))
        raise UsageError(
            f"infer {name} opens {formats} files, and nothing that is installed makes them from a model"
        )
    return route


def backend_of_artifact(providers: Providers, artifact: Artifact | str | Path) -> Provider:
    """The backend that verifies an artifact, by its format.

    Raises:
        UsageError: it is a path, which says no format, or the plugin of the format is not installed.
        VerificationError: its maker names none.
    """
    if not isinstance(artifact, Artifact):
        raise UsageError(f"say which backend opens {artifact}", hint="backend='onnxruntime'")
    makers = _makers(providers, artifact.format)
    # Where the plugin of the format is not installed, the error names the missing target.
    maker = makers[0] if makers else providers.provider("export", artifact.format)
    return verification_backend(providers, maker)


def verification_backend(providers: Providers, maker: Provider) -> Provider:
    """The backend that verifies a maker's files; raises :class:`VerificationError` if it names none."""
    backend = getattr(maker.plugin, "verify_with", None)
    if not isinstance(backend, str):
        raise VerificationError(
            f"nothing is known that runs a file of format {maker.entry.target}", hint="name a backend"
        )
    return providers.provider("infer", backend)


def backend_of_input(providers: Providers, builder: Provider, artifact: Path) -> Provider:
    """The backend that runs an artifact from which ``builder`` builds an engine.

    Raises:
        UsageError: nothing that is installed makes what the builder reads.
        VerificationError: the makers name none.
    """
    makers = [maker for name in formats_read(builder) for maker in _makers(providers, name)]
    if not makers:
        raise UsageError(
            f"nothing that is installed makes {' or '.join(formats_read(builder))} files to compare"
        )
    named = [maker for maker in makers if artifact.suffix.lower() == suffix_of(maker)]
    return verification_backend(providers, (named or makers)[0])


def require_device(backend: Provider, device: str | None) -> None:
    """Check before any work that a backend has a device to run on, as far as its plugin can tell.

    Raises:
        DeviceError: it is not there.
        MissingDependencyError: a library is not.
    """
    check = backend.method("check_device")
    if check is not None:
        check(backend.device(device))


def _route(
    providers: Providers, formats: tuple[str, ...], seen: frozenset[str] = frozenset()
) -> tuple[Provider, ...] | None:
    for wanted in formats:
        for maker in _makers(providers, wanted):
            if maker.takes == "model":
                return (maker,)
            before = None if wanted in seen else _route(providers, formats_read(maker), seen | {wanted})
            if before is not None:
                return (*before, maker)
    return None


def _makers(providers: Providers, wanted: str) -> list[Provider]:
    return [maker for hook in _MAKERS for maker in _usable(providers, hook) if maker.entry.target == wanted]


def _suffix_of_format(providers: Providers, name: str) -> str:
    makers = _makers(providers, name)
    return suffix_of(makers[0]) if makers else f".{name}"


def _usable(providers: Providers, hook: str) -> list[Provider]:
    usable = []
    for entry in entries(hook):
        try:
            usable.append(providers.load(entry))
        except PluginError:
            continue  # asking for it by name says why
    return usable
