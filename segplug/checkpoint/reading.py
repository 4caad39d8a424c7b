"""A checkpoint file of any form, opened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.checkpoint.forms import META_KEY, NPZ, SAFETENSORS, first_words
from segplug.errors import CheckpointError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint", "read_checkpoint"]

_PARALLEL = "module."


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    path: str
    state: Mapping[str, torch.Tensor]
    """Parameter and buffer name to tensor, on the CPU, without gradient; may lie in the file until it is
    copied. A prefix that parallel training puts before every name (``module.``) is gone."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the training run noted: ``CLASSES``, ``PALETTE``, ..."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Module name to what PyTorch notes of its state's layout (``state_dict()._metadata``)."""
    rest: Mapping[str, Any] = field(default_factory=dict)
    """All other entries of the file: the optimiser's state, schedulers, ... Those of a wrapper inside a
    wrapper have the outer keys before their own name (``model.epoch``). What is no tensor among the
    weights is there as ``state_dict.<name>``."""


def read_checkpoint(location: str, *, trust: bool = False) -> Checkpoint:
    """Read a checkpoint without changing it.

    Args:
        location: Path of the file, in one of the forms that :mod:`segplug.checkpoint` names.
        trust: Allow the full unpickler, which can run code that the file holds.

    Raises:
        UsageError: there is no such file.
        CheckpointError: it is damaged, no checkpoint, or holds types that are not known as harmless.
        MissingDependencyError: PyTorch (or safetensors) is not installed.
    """
    path = Path(location).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {location}")
    if path.stat().st_size == 0:
        raise CheckpointError(f"the checkpoint {location} is empty")
    with _needed_libraries():
        if path.suffix.lower() == SAFETENSORS:
            return _read_safetensors(path, location)
        if path.suffix.lower() == NPZ:
            return _read_npz(path, location)
        return _read_pickle(path, location, trust=trust)


@contextmanager
def _needed_libraries() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise MissingDependencyError(
            f"reading this checkpoint needs {error.name}", hint=f"pip install {error.name}"
        ) from error


def _read_pickle(path: Path, location: str, *, trust: bool) -> Checkpoint:
    from segplug.checkpoint.pickles import load
    from segplug.checkpoint.wrappers import unwrapped

    found = unwrapped(load(path, location, trust=trust), location)
    state, versions = found.state, found.versions
    if _is_parallel(state):
        state, versions = _without_prefix(state), _without_prefix(versions)
    return Checkpoint(path=location, state=state, meta=found.meta, versions=versions, rest=found.rest)


def _read_safetensors(path: Path, location: str) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    from segplug.checkpoint.memory import aligned, alone

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            # Versions of the library differ in how much of the file a tensor's storage spans.
            state = {name: alone(aligned(file.get_tensor(name))) for name in names}
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{location} is damaged or no safetensors file", hint=first_words(error)
        ) from error
    if not state:
        raise CheckpointError(f"{location} holds no weights")
    if _is_parallel(state):
        state = _without_prefix(state)
    return Checkpoint(path=location, state=state, meta=_noted(header))


def _noted(header: Mapping[str, str]) -> dict[str, Any]:
    """The training run's notes in a header; what somebody else's header holds there is no error."""
    try:
        meta = json.loads(header.get(META_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _read_npz(path: Path, location: str) -> Checkpoint:
    from segplug.checkpoint.npz import arrays

    found = arrays(path, location)
    if not found.state:
        raise CheckpointError(f"{location} holds no weights")
    return Checkpoint(path=location, state=found.state, rest=found.texts)


def _is_parallel(state: Mapping[str, torch.Tensor]) -> bool:
    return all(name.startswith(_PARALLEL) for name in state)


def _without_prefix(names: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name).removeprefix(_PARALLEL): value for name, value in names.items()}
