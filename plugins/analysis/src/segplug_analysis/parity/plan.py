"""Which backends are compared with PyTorch, in which precisions, and how their files come about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segplug.engine import REFERENCE_BACKEND
from segplug.errors import DeviceError, MissingDependencyError, PluginError, UsageError
from segplug.registry.discovery import entries
from segplug.registry.formats import require_device, route_to
from segplug.results import Precision

if TYPE_CHECKING:
    from segplug.installed import Provider
    from segplug.session import Providers

__all__ = ["Plan", "Trial", "choose"]


@dataclass(frozen=True)
class Trial:
    """One backend in one precision, to be compared with PyTorch."""

    backend: str
    """The ``infer`` target, as it was named."""
    precision: Precision
    route: tuple[Provider, ...]
    """The makers that lead from the model to its file; empty: it runs the loaded model."""

    @property
    def name(self) -> str:
        """For people: ``onnxruntime fp32``."""
        return f"{self.backend} {self.precision}"


@dataclass(frozen=True)
class Plan:
    """All trials, and the backends that nobody named and nothing leads to."""

    trials: tuple[Trial, ...]
    left_out: tuple[tuple[str, str], ...]
    """Backend and reason."""


def choose(
    backends: Sequence[str], precisions: Sequence[Precision], device: str, providers: Providers
) -> Plan:
    """Each backend in each precision; PyTorch, the reference, is none of them.

    Args:
        backends: As the user named them; empty: all that are installed and that a model gets to.
        precisions: Of the files that are made.
        device: Where they will run: a backend that has none there is found out before its file is made.
        providers: The installed ones.

    Raises:
        UsageError: a backend that was named is unknown, nothing makes what it opens, or none is left.
        PluginError: a backend that was named is broken.
        DeviceError: it does not run on ``device``.
        MissingDependencyError: a library of its is not installed.
    """
    providers.provider("infer", REFERENCE_BACKEND)
    wanted = [name for name in dict.fromkeys(backends) if name != REFERENCE_BACKEND]
    left_out: list[tuple[str, str]] = []
    routes: dict[str, tuple[Provider, ...]] = {}
    for name in wanted or ([] if backends else _installed(providers)):
        try:
            backend = providers.provider("infer", name)
            route = route_to(providers, backend)
            require_device(backend, device)
        except (UsageError, PluginError, DeviceError, MissingDependencyError) as error:
            if backends:
                raise
            left_out.append((name, str(error)))
            continue
        routes[name] = route
    if not routes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out)
        raise UsageError(
            f"there is no backend to compare {REFERENCE_BACKEND} with" + (f": {reasons}" if reasons else ""),
            hint="name one with --backend; segplug plugins list shows what is installed",
        )
    trials = [
        Trial(name, precision, route)
        for name, route in routes.items()
        for precision in dict.fromkeys(precisions)
    ]
    return Plan(tuple(trials), tuple(left_out))


def _installed(providers: Providers) -> list[str]:
    found = [entry for entry in entries("infer") if entry.target != REFERENCE_BACKEND]
    names = [entry.qualified if entry.status == "duplicate" else entry.target for entry in found]
    return [name for name in names if not _is_server(providers, name)]


def _is_server(providers: Providers, name: str) -> bool:
    try:
        return providers.provider("infer", name).takes == "url"
    except PluginError:
        return False  # why it is broken is said where it is asked for a route
