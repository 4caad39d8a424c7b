"""Which backends are compared with PyTorch, in which precisions, and what makes their files."""

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
    from segplug.installed import Entry, Provider
    from segplug.session import Providers

__all__ = ["Plan", "Trial", "choose"]


@dataclass(frozen=True)
class Trial:
    """One backend in one precision, to be compared with PyTorch."""

    backend: str
    """The ``infer`` target, as it was named."""
    provider: Provider
    """The backend itself."""
    precision: Precision
    device: str
    """Where the backend runs."""
    route: tuple[Entry, ...]
    """The makers that lead from the model to the backend's file; empty: it runs the loaded model."""

    @property
    def name(self) -> str:
        """A name for people: ``onnxruntime fp32``."""
        return f"{self.backend} {self.precision}"


@dataclass(frozen=True)
class Plan:
    """The reference, all trials, and the installed backends that cannot be compared."""

    reference: Provider
    """PyTorch."""
    reference_device: str
    """Where PyTorch runs."""
    trials: tuple[Trial, ...]
    left_out: tuple[tuple[str, str], ...]
    """Backends that nobody named and that cannot be compared: name and reason."""


def choose(
    backends: Sequence[str], precisions: Sequence[Precision], device: str | None, providers: Providers
) -> Plan:
    """Each backend in each precision, without PyTorch, which is the reference.

    Args:
        backends: As the user named them; empty: all that are installed and whose files can be made.
        precisions: The precisions of the files that are made.
        device: Where the backends will run; ``None``: each on its own default. One that cannot run there is
            refused before its file is made. PyTorch runs there, too, if it can.
        providers: The installed ones.

    Raises:
        UsageError: a backend that was named is unknown, nothing makes what it opens, or none is left.
        PluginError: a backend that was named is broken.
        DeviceError: it does not run on ``device``.
        MissingDependencyError: it needs a library that is not installed.
    """
    reference = providers.provider("infer", REFERENCE_BACKEND)
    # A server runs a model of its own.
    usual = [entry.name for entry in entries("infer") if entry.facts.takes != "url"]
    left_out: list[tuple[str, str]] = []
    trials: list[Trial] = []
    for name in dict.fromkeys(backends) or usual:
        try:
            backend = providers.provider("infer", name)
            if backend.entry == reference.entry:
                if backends:  # the user named PyTorch, too, for this device
                    require_device(backend, device)
                continue
            route = route_to(backend.entry)
            require_device(backend, device)
        except (UsageError, PluginError, DeviceError, MissingDependencyError) as error:
            if backends:
                raise
            left_out.append((name, str(error)))
            continue
        trials += [
            Trial(name, backend, precision, backend.device(device), route)
            for precision in dict.fromkeys(precisions)
        ]
    if not trials:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out)
        raise UsageError(
            f"there is no backend to compare {REFERENCE_BACKEND} with" + (f": {reasons}" if reasons else ""),
            hint="name one with --backend; segplug plugins list shows what is installed",
        )
    return Plan(reference, _reference_device(reference, device), tuple(trials), tuple(left_out))


def _reference_device(reference: Provider, device: str | None) -> str:
    """The device that the backends run on, if PyTorch can use it; else PyTorch's own default."""
    try:
        require_device(reference, device)
    except (UsageError, DeviceError):
        return reference.device(None)
    return reference.device(device)
