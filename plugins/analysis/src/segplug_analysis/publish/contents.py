"""What of a checkpoint is published: the weights, and the notes that running the model needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.checkpoint import Checkpoint
from segplug_analysis.publish.averages import AVERAGE_KEYS, PREFIX, are_averages, averaged_state

if TYPE_CHECKING:
    import torch

__all__ = ["Published", "Removed", "published"]

_NOTES_OF_TRAINING = ("env_info", "hook_msgs", "seed", "exp_name", "time", "dataset_meta_path")
"""Entries of ``meta`` that are about the training run and the machine it ran on."""


@dataclass(frozen=True)
class Removed:
    """Something that is not published."""

    what: str
    why: str
    bytes: int
    """Of the tensors in it."""


@dataclass(frozen=True)
class Published:
    """What is written."""

    state: Mapping[str, torch.Tensor]
    """Contiguous tensors on the CPU, each with no more storage than its own."""
    meta: Mapping[str, Any]
    versions: Mapping[str, Any]
    weights: str
    """Which weights these are, in words."""
    removed: tuple[Removed, ...]
    kept: tuple[str, ...]
    """The entries of ``meta``."""


def published(checkpoint: Checkpoint, *, averaged: bool, json_only: bool) -> Published:
    """Choose what is published of a checkpoint.

    Args:
        checkpoint: As it was read.
        averaged: Take the weights averaged over training.
        json_only: The notes must be JSON, as a ``.safetensors`` header has them.

    Raises:
        CheckpointError: averaged weights are asked for, and there are none.
    """
    chosen = averaged_state(checkpoint) if averaged or are_averages(checkpoint) else None
    state = chosen.state if chosen else checkpoint.state
    removed = [Removed(name, _why(name), _bytes(value)) for name, value in checkpoint.rest.items()]
    averages = {name: value for name, value in state.items() if name.startswith(PREFIX)}
    if averages:
        removed.append(Removed(f"{len(averages)} tensors {PREFIX}*", _AVERAGES, _bytes(averages)))
    meta = {}
    for name, value in checkpoint.meta.items():
        why = _why_not_noted(str(name), value, json_only)
        if why:
            removed.append(Removed(f"meta.{name}", why, _bytes(value)))
        else:
            meta[str(name)] = plain(value) if json_only else value
    return Published(
        state={name: _own(tensor) for name, tensor in state.items() if name not in averages},
        meta=meta,
        versions=checkpoint.versions,
        weights=chosen.origin if chosen else "the network's own",
        removed=tuple(removed),
        kept=tuple(meta),
    )


_AVERAGES = "what training keeps beside the weights to average them"


def _why(name: str) -> str:
    if name in AVERAGE_KEYS:
        return _AVERAGES
    for word, why in (
        ("optim", "the optimiser's state"),
        ("sched", "the schedule of the learning rate"),
        ("scaler", "the loss scale of mixed precision"),
        ("message_hub", "the history of the training run"),
    ):
        if word in name.lower():
            return why
    if name.startswith("state_dict."):
        return "no tensor"
    return "nothing that running the model needs"


def _why_not_noted(name: str, value: Any, json_only: bool) -> str | None:
    if name in _NOTES_OF_TRAINING:
        return "about the training run, not the model"
    if json_only and plain(value) is _NOT_PLAIN:
        return "cannot be written as JSON"
    if not json_only and not _loads_safely(value):
        return "is not plain data: loading it could run code"
    return None


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor alone: on the CPU, without gradient, and without the rest of a storage it is a part of."""
    tensor = tensor.detach().cpu().contiguous()
    whole = tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
    return tensor.clone() if whole else tensor


def _bytes(value: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


_NOT_PLAIN = object()


def plain(value: Any) -> Any:
    """A note as JSON types, arrays as lists; ``_NOT_PLAIN`` for what is no data."""
    import numpy as np

    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, Mapping):
        items = {str(key): plain(item) for key, item in value.items()}
        return _NOT_PLAIN if _NOT_PLAIN in items.values() else items
    if isinstance(value, (list, tuple)):
        values = [plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in values) else values
    return value if value is None or isinstance(value, (bool, int, float, str)) else _NOT_PLAIN


def _loads_safely(value: Any) -> bool:
    """Whether everybody can load the value without trusting the file."""
    import torch

    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, Mapping):
        return all(_loads_safely(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_loads_safely(item) for item in value)
    return plain(value) is not _NOT_PLAIN
